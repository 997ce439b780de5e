# SPDX-License-Identifier: Apache-2.0
"""LabelMe data: a JSON file beside each image, with a list of shapes."""

import dataclasses
import functools
import os
import pathlib
from collections import Counter
from collections.abc import Callable, Sequence

from deeplab2_like import errors
from deeplab2_like.labels import json_values
from deeplab2_like.labels import layers as layers_lib
from deeplab2_like.labels.coco_json import Category
from deeplab2_like.labels.layers import Layers, Part
from deeplab2_like.recipes.forms import (
    class_file,
    labelme_json,
    own_labels,
    places,
)
from deeplab2_like.recipes.forms.labelme_json import LabelmeFile, Shape
from deeplab2_like.recipes.forms.own_labels import (
    ClassTable,
    LabeledImage,
    LabelSource,
)
from deeplab2_like.recipes.forms.reading import Reading
from deeplab2_like.recipes.forms.source import Request
from deeplab2_like.recipes.forms.tree import Tree

# LabelMe's own name of what is no object.
_BACKGROUND = "_background_"
_MAX_NAMED = 3


@dataclasses.dataclass(frozen=True)
class _Labeled:
    """A JSON file with its image.

    Attributes:
        path: Path of the file.
        name: Name of the image.
        split: As `places.find_split` returns it.
        image: Path of the image.
        content: The content; None where it cannot be used.
        error: Why the file or its image cannot be used; None where they can.
    """

    path: pathlib.Path
    name: str
    split: str
    image: pathlib.Path
    content: LabelmeFile | None
    error: errors.DataError | None = None

    @property
    def shapes(self) -> Sequence[Shape]:
        """The shapes, none where they cannot be read."""
        return self.content.shapes if self.content else ()


class Labelme(LabelSource):
    """A data set that LabelMe wrote."""

    def __init__(self, files: Sequence[_Labeled], request: Request):
        """Chooses the classes.

        Args:
            files: The JSON files, one or more.
            request: What the user asked for.

        Raises:
            errors.DataError: The classes cannot be used.
        """
        reading = request.reading
        labels = {
            shape.label
            for one in files
            for shape in one.shapes
            if not _is_empty(shape.label)
        }
        names, source = sorted(labels), str(request.data)
        if reading.classes is not None:
            source = str(reading.classes)
            names = _take_names(
                class_file.load(reading.classes), labels, source
            )
        table = ClassTable(
            [
                Category(number, name, is_thing=_is_background(name, reading))
                for number, name in enumerate(names, 1)
            ],
            reading,
            source,
        )
        super().__init__(
            f"LabelMe: {len(files)} JSON files with `shapes`, such as "
            f"{files[0].path}, of images such as {files[0].image}.",
            table,
            reading,
        )
        self._files = files
        self._index = {name: i for i, name in enumerate(table.names)}
        self._index[_BACKGROUND] = table.background
        self._index |= {
            label: layers_lib.VOID
            for one in files
            for label in {shape.label for shape in one.shapes}
            if class_file.is_void(label)
        }
        folders = [os.path.abspath(one.image.parent) for one in files]
        self.image_dir = pathlib.Path(os.path.commonpath(folders))

    def count_most_instances(self) -> int:
        """Counts the most shapes of a class in an image."""
        counts = [
            Counter(shape.label for shape in one.shapes) for one in self._files
        ]
        return max((max(c.values()) for c in counts if c), default=0)

    def list_images(self, warn: Callable[[str], None]) -> list[LabeledImage]:
        """Lists the images; see `LabelSource`."""
        for kind, places_of in self._find_unfilled().items():
            warn(
                f"{len(places_of)} shapes of the type {kind!r} have no area "
                "and are left out: "
                f"{json_values.summarize(places_of, _MAX_NAMED)}."
            )
        return [
            LabeledImage(
                path=str(one.image),
                name=one.name,
                split=one.split,
                class_ids=frozenset(
                    index
                    for shape in one.shapes
                    if (index := self._index[shape.label]) >= 0
                ),
                read=functools.partial(self._read, one),
                size=one.content.size if one.content else None,
                error=one.error,
            )
            for one in self._files
        ]

    def _find_unfilled(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for one in self._files:
            for shape in one.shapes:
                if not shape.has_area:
                    place = f"{one.path}: {shape.where}"
                    found.setdefault(shape.kind, []).append(place)
        return found

    def _read(self, one: _Labeled, size: tuple[int, int]) -> tuple[Layers, str]:
        table = self.table
        groups: dict[tuple[str, int], int] = {}
        parts, empty = [], []
        for number, shape in enumerate(one.shapes, 1):
            if not shape.has_area:
                continue
            try:
                mask = labelme_json.fill(shape, size)
            except ValueError as error:
                raise own_labels.refuse(
                    f"{one.path}: {shape.where}", f"{error}", "Draw it again."
                ) from error
            if not mask.area:
                empty.append(f"{shape.where} ({shape.label})")
                continue
            index = self._index[shape.label]
            instance = number
            if shape.group is not None:
                key = (shape.label, shape.group)
                instance = groups.setdefault(key, number)
            parts.append(
                Part(index, mask, instance if table.is_thing(index) else 0)
            )
        layers, num_hidden = layers_lib.paint(
            parts, Layers.empty(size, table.background), table.order
        )
        return layers, own_labels.describe_left_out(one.name, empty, num_hidden)


def _is_empty(label: str) -> bool:
    return label == _BACKGROUND or class_file.is_void(label)


def _is_background(name: str, reading: Reading) -> bool | None:
    """Returns that the background is stuff, and of others that it is open."""
    return False if name == reading.background else None


def _take_names(
    named: Sequence[class_file.NamedClass], labels: set[str], source: str
) -> list[str]:
    names = [one.name for one in named if not _is_empty(one.name)]
    missing = sorted(labels - {*names})
    if missing:
        raise errors.DataError(
            f"The shapes have the labels {json_values.summarize(missing, 8)}, "
            f"which {source} does not name. Add them, or correct the shapes."
        )
    return names


def recognize(tree: Tree, request: Request) -> Labelme | None:
    """Returns the data set of a folder; None for another form.

    Args:
        tree: The files of the folder.
        request: What the user asked for.

    Raises:
        errors.DataError: No JSON file can be read, or the classes cannot be
            used.
    """
    if request.data.is_file():
        return None
    paths = [
        path
        for path in tree.list_by_ending(".json")
        if labelme_json.has_sign(tree.root / path)
    ]
    if not paths:
        return None
    files = [_load(path, tree, request) for path in paths]
    if not any(one.content for one in files):
        raise next(one.error for one in files if one.error)
    return Labelme(files, request)


def _load(path: str, tree: Tree, request: Request) -> _Labeled:
    full = tree.root / path
    stem = pathlib.PurePosixPath(path).with_suffix("").as_posix()
    split = places.find_split(path)
    name = "/".join(
        part for part in stem.split("/") if not places.is_split_folder(part)
    )
    try:
        content = labelme_json.load(full)
    except errors.DataError as error:
        return _Labeled(full, name, split, full.with_suffix(""), None, error)
    image = _find_image(path, content.image, tree, request)
    if image is None:
        problem = own_labels.refuse(
            str(full),
            f"its image {content.image!r} does not exist beside it.",
            "Add the image, or give the folder of the images with --image_dir.",
        )
        return _Labeled(
            full, name, split, full.parent / content.image, content, problem
        )
    return _Labeled(full, name, split, image, content)


def _find_image(
    path: str, image: str, tree: Tree, request: Request
) -> pathlib.Path | None:
    """Finds the image of a JSON file, by the path in it or by its name."""
    full = tree.root / path
    base = image.replace("\\", "/").rsplit("/", 1)[-1]
    folders = [full.parent]
    if request.image_dir is not None:
        folders = [request.image_dir]
    for folder in folders:
        for name in (image.replace("\\", "/"), base):
            if (folder / name).is_file():
                return folder / name
    if request.image_dir is None:
        found = tree.find_folders(base)
        if len(found) == 1:
            return tree.root / found[0] / base
    return None
