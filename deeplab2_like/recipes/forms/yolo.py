# SPDX-License-Identifier: Apache-2.0
"""YOLO segmentation data: data.yaml, images/ and labels/ with equal names.

A line of labels/.../NAME.txt is an object: the number of its class, and the
corners of its polygon as shares of the width and the height of the image.
"""

import dataclasses
import functools
import os
import pathlib
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.labels import coco_json, json_values, masks
from deeplab2_like.labels import layers as layers_lib
from deeplab2_like.labels.coco_json import Category
from deeplab2_like.labels.layers import Layers, Part
from deeplab2_like.recipes.forms import (
    data_yaml,
    own_labels,
    places,
    yolo_splits,
)
from deeplab2_like.recipes.forms.data_yaml import DataYaml
from deeplab2_like.recipes.forms.own_labels import (
    ClassTable,
    LabeledImage,
    LabelSource,
)
from deeplab2_like.recipes.forms.reading import Reading
from deeplab2_like.recipes.forms.source import Request
from deeplab2_like.recipes.forms.tree import Tree
from deeplab2_like.storage import image_decoding

_IMAGES, _LABELS = "images", "labels"
# Corners beyond the image by rounding.
_LEAST, _MOST = -0.1, 1.1
_BOX_NUMBERS = 4
_MAX_NAMED = 3


@dataclasses.dataclass(frozen=True, eq=False)
class _Object:
    """A line of a file: class, corners as shares, and whether it is a box."""

    number: int
    corners: npt.NDArray[np.float64]
    is_box: bool
    line: int


@dataclasses.dataclass(frozen=True)
class _File:
    """An image, its label file, and what this contains.

    Attributes:
        image: Path of the image.
        name: Name of the image.
        split: As `places.find_split` returns it.
        label: Path of the label file; None where there is none.
        objects: Its objects.
        error: Why the file cannot be used; None where it can.
    """

    image: pathlib.Path
    name: str
    split: str
    label: pathlib.Path | None
    objects: Sequence[_Object] = ()
    error: errors.DataError | None = None


class Yolo(LabelSource):
    """A data set of YOLO segmentation."""

    def __init__(
        self, content: DataYaml, files: Sequence[_File], reading: Reading
    ):
        """Stores what was found.

        Args:
            content: The data.yaml.
            files: The images.
            reading: What the user says.

        Raises:
            errors.DataError: All labels are boxes.
        """
        # Numbers of classes begin with 0, and so does the background's.
        table = ClassTable(
            [
                Category(number + 1, name, is_thing=True)
                for number, name in content.names.items()
            ],
            reading,
            str(content.path),
        )
        labels = sum(one.label is not None for one in files)
        folder = pathlib.Path(
            os.path.commonpath([one.image.parent for one in files])
        )
        super().__init__(
            f"YOLO segmentation: {content.path} with {len(files)} images below "
            f"{folder}, {labels} with a label file.",
            table,
            reading,
        )
        objects = [one for file in files for one in file.objects]
        if objects and all(one.is_box for one in objects):
            raise errors.DataError(
                f"The label files of {content.path}, such as "
                f"{next(file.label for file in files if file.objects)}, have "
                "boxes only (a class and 4 numbers): they are of detection. "
                "Segmentation needs outlines."
            )
        self._files = files
        self.image_dir = folder

    def count_most_instances(self) -> int:
        """Counts the most objects of a class in an image."""
        return max(
            (
                count
                for file in self._files
                for count in Counter(
                    one.number for one in file.objects
                ).values()
            ),
            default=0,
        )

    def list_images(self, warn: Callable[[str], None]) -> list[LabeledImage]:
        """Lists the images; see `LabelSource`."""
        files = self._files
        bare = [str(one.image) for one in files if one.label is None]
        if bare:
            meaning = "are all background"
            if self.table.background == layers_lib.VOID:
                meaning = "are left out"
                files = [one for one in files if one.label is not None]
            warn(
                f"{len(bare)} images have no label file and {meaning}: "
                f"{json_values.summarize(bare, _MAX_NAMED)}."
            )
        boxes = [
            f"{file.label}:{one.line}"
            for file in files
            for one in file.objects
            if one.is_box
        ]
        if boxes:
            warn(
                f"{len(boxes)} objects have a box but no outline "
                f"({boxes[0]}). Their pixels that no other object covers are "
                "not scored (void)."
            )
        index = self.table.index_of_id()
        return [
            LabeledImage(
                path=str(one.image),
                name=one.name,
                split=one.split,
                class_ids=frozenset(
                    index[o.number + 1] for o in one.objects if not o.is_box
                ),
                read=functools.partial(self._read, one),
                error=one.error,
            )
            for one in files
        ]

    def _read(self, file: _File, size: tuple[int, int]) -> tuple[Layers, str]:
        table = self.table
        index_of_id = table.index_of_id()
        height, width = size
        below = Layers.empty(size, table.background)
        parts, empty = [], []
        for number, one in enumerate(file.objects, 1):
            mask = masks.fill_polygon(one.corners * (width, height), size)
            index = index_of_id[one.number + 1]
            if one.is_box:
                below.classes[mask.window][mask.pixels] = layers_lib.VOID
            elif not mask.area:
                empty.append(f"line {one.line}")
            else:
                instance = number if table.is_thing(index) else 0
                parts.append(Part(index, mask, instance))
        layers, num_hidden = layers_lib.paint(parts, below, table.order)
        return layers, own_labels.describe_left_out(
            file.name, empty, num_hidden
        )


def recognize(tree: Tree, request: Request) -> Yolo | None:
    """Returns the data set of a folder or data.yaml; None for another form.

    Args:
        tree: The files of the folder.
        request: What the user asked for.

    Raises:
        errors.DataError: The data.yaml cannot be used, or several are there.
    """
    if request.data.is_file():
        found = [str(request.data)] if _is_yaml(request.data.name) else []
    else:
        found = [str(tree.root / p) for p in tree.files if _is_yaml(p)]
    found = [path for path in found if _names_classes(path)]
    images = [
        path
        for path in tree.files
        if path.lower().endswith(image_decoding.SUFFIXES)
        and _find_label(path) is not None
    ]
    present = {*tree.files}
    if not found or not any(_find_label(path) in present for path in images):
        return None
    if len(found) > 1:
        raise errors.DataError(
            f"{json_values.summarize(found)} each name classes. Give the path "
            "of the one that is meant instead of the folder."
        )
    content = data_yaml.load(pathlib.Path(found[0]))
    splits = yolo_splits.Splits(content, tree)
    files = []
    for path in images:
        label = _find_label(path)
        file = _File(
            tree.root / path,
            _name(path),
            splits.find(path),
            tree.root / label if label in present and label else None,
        )
        files.append(_load(file, content))
    return Yolo(content, files, request.reading)


def _is_yaml(path: str) -> bool:
    return path.lower().endswith((".yaml", ".yml"))


def _names_classes(path: str) -> bool:
    try:
        data = pathlib.Path(path).read_bytes()
    except OSError:
        return False
    return any(line.startswith(b"names") for line in data.splitlines())


def _find_label(path: str) -> str | None:
    """Returns the path of the label file that an image may have."""
    *folders, name = path.split("/")
    if _IMAGES not in folders:
        return None
    place = len(folders) - 1 - folders[::-1].index(_IMAGES)
    folders[place] = _LABELS
    stem = pathlib.PurePosixPath(name).stem
    return "/".join([*folders, f"{stem}.txt"])


def _name(path: str) -> str:
    *folders, name = path.split("/")
    kept = [
        folder
        for folder in folders
        if folder != _IMAGES and not places.is_split_folder(folder)
    ]
    return "/".join([*kept, pathlib.PurePosixPath(name).stem])


def _load(file: _File, content: DataYaml) -> _File:
    """Reads a label file."""
    if file.label is None:
        return file
    try:
        objects = _read_lines(file.label, content)
    except errors.DataError as error:
        return dataclasses.replace(file, error=error)
    return dataclasses.replace(file, objects=objects)


def _read_lines(path: pathlib.Path, content: DataYaml) -> list[_Object]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise errors.DataError(
            f"{path} cannot be read ({reason}). Write it again."
        ) from error
    objects: list[_Object] = []
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            objects.append(_read_object(words, number, content))
        except ValueError as error:
            problems.append(f"line {number} {error}")
    coco_json.raise_problems(str(path), problems)
    return objects


def _read_object(words: Sequence[str], line: int, content: DataYaml) -> _Object:
    try:
        number = json_values.read_integer(words[0])
        values = [json_values.read_number(word) for word in words[1:]]
    except ValueError as error:
        raise ValueError(f"has a number that {error}") from None
    if number not in content.names:
        raise ValueError(
            f"has the class {number}, which {content.path} does not name."
        )
    if len(values) < _BOX_NUMBERS or len(values) % 2:
        raise ValueError(
            f"has {len(values)} numbers behind the class. An outline has an "
            "even number, two for each corner."
        )
    wrong = [value for value in values if not _LEAST <= value <= _MOST]
    if wrong:
        raise ValueError(
            f"has the number {wrong[0]:g}. Corners are shares of the width and "
            "height, 0..1."
        )
    if len(values) == _BOX_NUMBERS:
        x, y, width, height = values
        left, right = x - width / 2, x + width / 2
        top, bottom = y - height / 2, y + height / 2
        values = [left, top, right, top, right, bottom, left, bottom]
        corners = np.array(values).reshape(-1, 2)
        return _Object(number, corners, True, line)
    return _Object(number, np.array(values).reshape(-1, 2), False, line)
