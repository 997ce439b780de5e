# SPDX-License-Identifier: Apache-2.0
"""COCO instances (detection) data: images and a JSON file or two.

Each annotation is an object of polygons or run lengths. All classes are things,
and what no object covers is one stuff class, unless the user says otherwise.
"""

import dataclasses
import functools
import os
import pathlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from deeplab2_like.data.coco import descriptions
from deeplab2_like.labels import coco_instances, coco_json, pixel_maps
from deeplab2_like.labels import layers as layers_lib
from deeplab2_like.labels.coco_instances import InstancesJson, Object
from deeplab2_like.labels.coco_json import Category
from deeplab2_like.labels.layers import Layers, Part
from deeplab2_like.recipes.forms import (
    class_file,
    class_naming,
    label_scan,
    own_labels,
    pairing,
    places,
)
from deeplab2_like.recipes.forms.class_naming import Naming
from deeplab2_like.recipes.forms.own_labels import (
    ClassTable,
    LabeledImage,
    LabelSource,
)
from deeplab2_like.recipes.forms.pairing import IMAGE, SEMANTIC
from deeplab2_like.recipes.forms.reading import Reading
from deeplab2_like.recipes.forms.source import Request
from deeplab2_like.recipes.forms.tree import Tree

# What such a JSON file contains, and the panoptic one does not.
_SIGNS = (b'"segmentation"', b'"bbox"')
_OTHER_SIGNS = (b'"segments_info"', b'"caption"', b'"shapes"')
_MAX_NAMED = 3


@dataclasses.dataclass(frozen=True)
class _Split:
    """A JSON file with its images.

    Attributes:
        content: The file.
        split: As in `Example`.
        images: Folder of the images.
        semantic: Label image of classes by `file_name`; empty where there are
            none.
    """

    content: InstancesJson
    split: str
    images: str
    semantic: Mapping[str, pathlib.Path]


class CocoInstances(LabelSource):
    """A data set in COCO's instances format."""

    def __init__(self, splits: Sequence[_Split], reading: Reading, note: str):
        """Stores the files.

        Args:
            splits: One JSON file, or those of training and evaluation.
            reading: What the user says.
            note: What was decided about several files, for the user.

        Raises:
            errors.DataError: The classes cannot be used.
        """
        descriptions.check_same_categories([s.content for s in splits])
        first = splits[0].content
        maps = [path for s in splits for path in s.semantic.values()]
        used = {
            one.category_id
            for split in splits
            for objects in split.content.objects.values()
            for one in objects
        }
        categories = [
            # With label images the file may list stuff, too.
            dataclasses.replace(one, is_thing=not maps or one.id in used)
            for one in first.categories.values()
        ]
        self._naming = None
        if maps:
            self._naming = _name_maps(categories, reading, str(first.path))
            categories = [*self._naming.categories]
            note += f" Elsewhere classes as in {maps[0]}."
        table = ClassTable(
            categories,
            reading,
            str(first.path),
            has_background=self._naming is None,
        )
        names = [f"{s.content.path} with {s.images}" for s in splits]
        super().__init__(
            f"COCO instances: {'; '.join(names)}.{note}", table, reading
        )
        self._splits = splits
        self.image_dir = pathlib.Path(splits[-1].images)

    def count_most_instances(self) -> int:
        """Counts the most objects of a class in an image."""
        return max(
            (
                count
                for split in self._splits
                for objects in split.content.objects.values()
                for count in Counter(
                    one.category_id for one in objects if not one.is_crowd
                ).values()
            ),
            default=0,
        )

    def list_images(self, warn: Callable[[str], None]) -> list[LabeledImage]:
        """Lists the images; see `LabelSource`."""
        index_of_id = self.table.index_of_id()
        listed = []
        for split in self._splits:
            content = split.content
            for sentence in content.warnings:
                warn(f"{content.path}: {sentence}")
            _check_files(split)
            bare = []
            for key, image in content.images.items():
                objects = content.objects[key]
                semantic = split.semantic.get(image.file_name)
                if (
                    not objects
                    and semantic is None
                    and self.table.background == layers_lib.VOID
                ):
                    bare.append(image.file_name)
                    continue
                listed.append(
                    LabeledImage(
                        path=os.path.join(split.images, image.file_name),
                        name=os.path.splitext(image.file_name)[0],
                        split=split.split,
                        class_ids=frozenset(
                            index_of_id[one.category_id]
                            for one in objects
                            if not one.is_crowd and not one.is_box
                        ),
                        read=functools.partial(
                            self._read,
                            content,
                            image.file_name,
                            objects,
                            semantic,
                        ),
                        size=image.size,
                        label_path=str(semantic or ""),
                    )
                )
            if bare:
                warn(
                    f"{content.path}: {len(bare)} images have no object and "
                    f"are left out ({', '.join(bare[:_MAX_NAMED])})."
                )
        return listed

    def _read(
        self,
        content: InstancesJson,
        name: str,
        objects: Sequence[Object],
        semantic: pathlib.Path | None,
        size: tuple[int, int],
    ) -> tuple[Layers, str]:
        table = self.table
        index_of_id = table.index_of_id()
        parts, empty = [], []
        below = Layers.empty(size, table.background)
        if semantic is not None and self._naming is not None:
            pixels = pixel_maps.load(semantic)
            size = pixels.size
            below = Layers.empty(size)
            below.classes[:] = class_naming.find_indices(
                label_scan.read_numbers(pixels, None, self._naming.by_color),
                self._naming,
                semantic,
            )
        for number, one in enumerate(objects, 1):
            try:
                mask = coco_instances.fill(one, size)
            except ValueError as error:
                raise own_labels.refuse(
                    f"{content.path}, image {name!r}",
                    str(error),
                    "Export the labels again.",
                ) from error
            index = index_of_id[one.category_id]
            if one.is_box:
                below.classes[mask.window][mask.pixels] = layers_lib.VOID
            elif not mask.area:
                empty.append(one.where)
            elif table.is_thing(index):
                parts.append(
                    Part(
                        index, mask, 0 if one.is_crowd else number, one.is_crowd
                    )
                )
            else:
                parts.append(Part(index, mask))
        layers, num_hidden = layers_lib.paint(parts, below, table.order)
        return layers, own_labels.describe_left_out(name, empty, num_hidden)


def has_sign(path: pathlib.Path) -> bool:
    """Returns whether a file looks like such a JSON file."""
    try:
        data = path.read_bytes()
    except OSError:
        return False
    return any(sign in data for sign in _SIGNS) and not any(
        sign in data for sign in _OTHER_SIGNS
    )


def recognize(tree: Tree, request: Request) -> CocoInstances | None:
    """Returns the data set of a folder or JSON file; None for another form.

    Args:
        tree: The files of the folder.
        request: What the user asked for.

    Raises:
        errors.DataError: The JSON files cannot be used, or which of them is
            meant or where their images are is not clear.
    """
    note = ""
    if request.data.is_file():
        if request.data.suffix.lower() != ".json" or not has_sign(request.data):
            return None
        chosen = {"": str(request.data)}
    else:
        found = [
            path
            for path in tree.list_by_ending(".json")
            if has_sign(tree.root / path)
        ]
        if not found:
            return None
        # Beside COCO's person_keypoints_train2017.json.
        named = [path for path in found if "instances" in path]
        chosen, note = places.choose_splits(
            named or found,
            tree.root,
            "COCO instances JSON files",
            _count_images,
        )
        chosen = {s: str(tree.root / path) for s, path in chosen.items()}
    splits = [
        _locate(path, split, tree, request) for split, path in chosen.items()
    ]
    return CocoInstances(splits, request.reading, note)


def _count_images(path: pathlib.Path) -> int:
    return len(coco_instances.read(path)[0].images)


def _locate(path: str, split: str, tree: Tree, request: Request) -> _Split:
    """Finds the images of a JSON file."""
    content, problems = coco_instances.read(path)
    coco_json.raise_problems(path, problems)
    images = places.get_given(request.image_dir, split)
    names = [image.file_name for image in content.images.values()]
    for place in (tree, places.look_above(tree, request)):
        if images is None and place is not None:
            beside = os.path.relpath(os.path.dirname(path), place.root)
            found = places.rank_folders(place, names)
            named = [f for f in found if pairing.find_role(f"{f}/-") == IMAGE]
            images = places.choose_folder(
                named or found,
                f"The images of {path}",
                "image_dir",
                hints=(beside if beside != os.curdir else "", split),
                root=place.root,
            )
    if images is None:
        raise own_labels.refuse(
            path,
            f"the images that it names, such as {names[0]!r}, are not below "
            f"{tree.root}.",
            "Give their folder with --image_dir.",
        )
    semantic = _find_maps(names, images, tree, request)
    bare = [name for name in names if name not in semantic]
    if semantic and bare:
        raise own_labels.refuse(
            path,
            f"{len(bare)} of {len(names)} images have no label image of "
            f"classes, such as {semantic[next(iter(semantic))]}: "
            f"{', '.join(map(repr, bare[:_MAX_NAMED]))}.",
            "Add them, or move the label images elsewhere.",
        )
    return _Split(content, split, images, semantic)


def _find_maps(
    names: Sequence[str], images: str, tree: Tree, request: Request
) -> dict[str, pathlib.Path]:
    """Finds the label images of classes, by the names of images."""
    place = tree
    if not _is_below(images, tree.root):
        place = places.look_above(tree, request) or tree
    semantic = {
        os.path.realpath(one.paths[IMAGE]): one.paths[SEMANTIC]
        for one in pairing.pair(place, request)
        if {IMAGE, SEMANTIC} <= {*one.paths}
    }
    found = {
        name: semantic.get(os.path.realpath(os.path.join(images, name)))
        for name in names
    }
    return {name: path for name, path in found.items() if path is not None}


def _is_below(path: str, folder: pathlib.Path) -> bool:
    return folder.resolve() in pathlib.Path(path, "x").resolve().parents


def _name_maps(
    categories: Sequence[Category], reading: Reading, source: str
) -> Naming:
    """Names the numbers of label images beside a JSON file."""
    named = None
    if reading.classes is not None:
        named = class_file.load(reading.classes)
        source = str(reading.classes)
    ordered, _ = descriptions.order_categories(categories, source)
    return class_naming.add_names(ordered, named, source)


def _check_files(split: _Split) -> None:
    names = [image.file_name for image in split.content.images.values()]
    missing = [
        name
        for name in names
        if not os.path.isfile(os.path.join(split.images, name))
    ]
    if missing:
        raise own_labels.refuse(
            str(split.content.path),
            f"{len(missing)} of {len(names)} images do not exist in "
            f"{split.images}: {', '.join(map(repr, missing[:_MAX_NAMED]))}.",
            "Add them, remove them from `images`, or give the right folder "
            "with --image_dir.",
        )
