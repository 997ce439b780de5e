# SPDX-License-Identifier: Apache-2.0
"""Reads COCO's instances (detection) JSON, also as other tools write it.

Each annotation is an object: polygons, or run lengths, compressed or not
(https://cocodataset.org/#format-data, "Object Detection"). `read` reads a file,
`fill` makes the mask of an object. What is read and what is refused is listed
in docs/label_forms.md.
"""

import dataclasses
import math
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.labels import json_documents, json_lists, json_values, masks
from deeplab2_like.labels.coco_json_entries import Reader
from deeplab2_like.labels.coco_json_types import Category, Image
from deeplab2_like.labels.image_ids import IdIndex

_KIND = "COCO instances JSON"
_LAYOUT = (
    "A COCO instances JSON is an object with `images` (id, file_name, height, "
    "width), `annotations` (one an object: image_id, category_id, "
    "segmentation) and `categories` (id, name)."
)
_LISTS = ("images", "annotations", "categories")
_MAX_NUMBER = 2**53
_FORMS = (
    "It must be a list of polygons [x1, y1, x2, y2, ...], or run lengths "
    '{"size": [height, width], "counts": ...}.'
)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Run lengths.

    Attributes:
        size: (height, width).
        counts: The lengths, or their compressed form.
    """

    size: tuple[int, int]
    counts: Sequence[int] | str


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Object:
    """An object of an image.

    Attributes:
        where: The object in messages, such as "annotations[3]".
        category_id: Id of its category.
        outline: Polygons, each floats [N, 2] of (x, y); or run lengths.
        is_crowd: Whether it is a group of objects.
        is_box: Whether only its box is known, which is then the outline.
    """

    where: str
    category_id: int
    outline: tuple[npt.NDArray[np.float64], ...] | Runs
    is_crowd: bool = False
    is_box: bool = False


@dataclasses.dataclass(frozen=True)
class InstancesJson:
    """The content of a file.

    Attributes:
        path: The file.
        images: Each image by id, in the order of the file.
        objects: The objects of each image by its id, in the order of the file.
        categories: Each category by id, in the order of the file.
        warnings: A sentence for each kind of value that was left out.
    """

    path: pathlib.Path
    images: Mapping[int | str, Image]
    objects: Mapping[int | str, Sequence[Object]]
    categories: Mapping[int, Category]
    warnings: tuple[str, ...] = ()


def is_instances(content: Any) -> bool:
    """Returns whether the value of a JSON file looks like this format."""
    annotations = (
        content.get("annotations") if isinstance(content, dict) else None
    )
    first = annotations[0] if isinstance(annotations, list | tuple) else None
    return (
        isinstance(first, dict)
        and "segments_info" not in first
        and ("segmentation" in first or "bbox" in first)
    )


def read(path: str | os.PathLike[str]) -> tuple[InstancesJson, list[str]]:
    """Reads a file.

    Args:
        path: The file.

    Returns:
        The entries without problems, and a sentence for each kind of problem.

    Raises:
        errors.DataError: The file is missing, not JSON, or of another kind.
    """
    path = pathlib.Path(path)
    return json_lists.read(
        lambda lists: _read_lists(path, lists),
        path,
        _LISTS,
        (),
        lambda: _find_lists(path),
    )


def _find_lists(path: pathlib.Path) -> dict[str, list[Any]]:
    """Loads the file as a whole."""
    content = json_documents.load(path, _KIND, _LAYOUT)
    if not isinstance(content, dict):
        raise errors.DataError(
            f"{path} is {json_values.describe(content)} at the top. {_LAYOUT}"
        )
    for key in _LISTS:
        if not isinstance(content.get(key), list):
            raise errors.DataError(
                f"{path} has no list `{key}`: it is "
                f"{json_values.describe(content.get(key))}. {_LAYOUT}"
            )
    return {key: content[key] for key in _LISTS}


def _read_lists(
    path: pathlib.Path, lists: json_lists.Lists
) -> tuple[InstancesJson, list[str]]:
    # In this order problems are listed, whatever that of the file is.
    readers = {key: _Reader() for key in _LISTS}
    images: dict[int | str, Image] = {}
    categories: dict[int, Category] = {}
    found: list[tuple[int | str, Object]] = []
    for key, entries in lists:
        if key == "images":
            images = readers[key].read_images(entries)
        elif key == "categories":
            categories = readers[key].read_categories(entries)
        elif key == "annotations":
            found = readers[key].read_objects(entries)
    objects = readers["annotations"].index_objects(found, images, categories)
    for key, is_empty in (
        ("images", not images),
        ("categories", not categories),
    ):
        if is_empty and not readers[key].problems.sentences():
            readers[key].problems.add(key, f"`{key}` is empty.")
    return InstancesJson(
        path,
        images,
        objects,
        categories,
        tuple(w for r in readers.values() for w in r.warnings.sentences()),
    ), [p for r in readers.values() for p in r.problems.sentences()]


def fill(one: Object, size: tuple[int, int]) -> masks.Mask:
    """Makes the mask of an object.

    Args:
        one: The object.
        size: (height, width) of its image.

    Raises:
        ValueError: Its run lengths are of another size, or damaged; the text
            is a sentence without its end.
    """
    if not isinstance(one.outline, Runs):
        return masks.unite(
            [masks.fill_polygon(points, size) for points in one.outline]
        )
    try:
        counts = one.outline.counts
        if isinstance(counts, str):
            counts = masks.read_compressed_counts(counts)
        if one.outline.size != size:
            height, width = one.outline.size
            raise ValueError(
                f"is of {height} x {width} pixels (height x width), but the "
                f"image has {size[0]} x {size[1]}."
            )
        return masks.fill_runs(counts, size)
    except ValueError as error:
        raise ValueError(f"{one.where}: segmentation {error}") from error


class _Reader(Reader):
    """Reads the entries of a file; those with problems are left out."""

    def read_objects(
        self, entries: Iterable[Any]
    ) -> list[tuple[int | str, Object]]:
        """Reads the list `annotations`.

        Args:
            entries: The list.

        Returns:
            The id of the image of each object, and the object.
        """
        objects = []
        for number, entry in enumerate(entries):
            where = f"annotations[{number}]"
            if not self._is_object(entry, "object", where):
                continue
            image_id = self._take(
                entry, "image_id", where, json_values.read_image_id, "object"
            )
            one = self._read_object(entry, where)
            if image_id is not None and one is not None:
                objects.append((image_id, one))
        return objects

    def index_objects(
        self,
        found: Sequence[tuple[int | str, Object]],
        images: Mapping[int | str, Image],
        categories: Mapping[int, Category],
    ) -> dict[int | str, list[Object]]:
        """Returns the objects of each image by its id.

        Args:
            found: Result of `read_objects`.
            images: The images by id.
            categories: The categories by id.
        """
        ids = IdIndex(images)
        objects: dict[int | str, list[Object]] = {key: [] for key in images}
        for image_id, one in found:
            known = ids.find(image_id)
            if one.category_id not in categories:
                self.problems.add(
                    "category of object",
                    f"{one.where} has the category_id {one.category_id}, which "
                    "`categories` does not list.",
                )
            elif known is None:
                self.problems.add(
                    "image of object",
                    f"{one.where} is of image {image_id!r}, which `images` "
                    "does not list.",
                )
            else:
                objects[known].append(one)
        return objects

    def _read_object(self, entry: dict[str, Any], where: str) -> Object | None:
        category = self._take(
            entry, "category_id", where, json_values.read_integer, "object"
        )
        is_crowd: bool | None = False
        if "iscrowd" in entry:
            is_crowd = self._take(
                entry, "iscrowd", where, json_values.read_flag, "object"
            )
        is_box = entry.get("segmentation") in (None, [], [[]], "")
        if is_box:
            return self._read_box(entry, where, category)
        outline = self._take(
            entry, "segmentation", where, _read_outline, "object"
        )
        if category is None or outline is None:
            return None
        return Object(where, category, outline, bool(is_crowd))

    def _read_box(
        self, entry: dict[str, Any], where: str, category: int | None
    ) -> Object | None:
        try:
            left, top, width, height = map(
                json_values.read_number, entry.get("bbox") or ()
            )
        except (ValueError, TypeError):
            self.problems.add(
                "no outline",
                f"{where} has neither a segmentation nor a bbox. Draw its "
                "outline, or remove it.",
            )
            return None
        self.warnings.add(
            "box",
            f"{where} has a box but no outline. The pixels of such boxes that "
            "no other object covers are not scored (void).",
        )
        if category is None:
            return None
        right, bottom = left + width, top + height
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        return Object(where, category, (np.array(corners, float),), is_box=True)


def _read_outline(
    value: Any,
) -> tuple[npt.NDArray[np.float64], ...] | Runs:
    if isinstance(value, dict):
        return _read_runs(value)
    if not isinstance(value, list):
        raise ValueError(f"is {json_values.describe(value)}. {_FORMS}")
    if not any(isinstance(part, list | dict) for part in value):
        value = [value]  # One polygon.
    return tuple(_read_polygon(part) for part in value)


def _read_polygon(value: Any) -> npt.NDArray[np.float64]:
    if not isinstance(value, list):
        raise ValueError(f"has {json_values.describe(value)}. {_FORMS}")
    if value and all(isinstance(p, list) and len(p) == 2 for p in value):
        value = [number for point in value for number in point]
    if len(value) % 2:
        raise ValueError(
            f"has a polygon of {len(value)} numbers, "
            f"{json_values.describe(value)}. Each corner has two, x and y."
        )
    if not {*map(type, value)} <= {int, float}:
        try:
            value = [json_values.read_number(number) for number in value]
        except ValueError as error:
            raise ValueError(f"has a number that {error}") from None
    if not all(math.fabs(v) <= _MAX_NUMBER for v in value):
        raise ValueError(
            f"has a number that is not finite, or above 2**53: "
            f"{json_values.describe(value)}."
        )
    return np.array(value, np.float64).reshape(-1, 2)


def _read_runs(value: dict[str, Any]) -> Runs:
    counts, size = value.get("counts"), value.get("size")
    try:
        height, width = map(json_values.read_integer, size or ())
    except (ValueError, TypeError):
        raise ValueError(
            f"has the size {json_values.describe(size)}. It must be [height, "
            "width]."
        ) from None
    if isinstance(counts, list):
        try:
            counts = [json_values.read_integer(count) for count in counts]
        except ValueError as error:
            raise ValueError(f"has run lengths of which one {error}") from None
    elif not isinstance(counts, str):
        raise ValueError(
            f"has the run lengths {json_values.describe(counts)}. They must "
            "be a list of integers, or COCO's compressed text."
        )
    return Runs((height, width), counts)
