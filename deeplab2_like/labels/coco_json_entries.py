# SPDX-License-Identifier: Apache-2.0
"""Reads the entries of a COCO-panoptic JSON file.

What is read and what is refused is listed in docs/data.md.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from deeplab2_like.labels import json_values
from deeplab2_like.labels.coco_json_types import (
    MAX_ID,
    NO_SEGMENTS,
    Annotation,
    Category,
    Image,
    PackedSegments,
    Segment,
)
from deeplab2_like.labels.image_ids import IdIndex

T = TypeVar("T")


class Sentences:
    """Sentences by kind: the first of each kind, and how many more."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    def add(self, kind: str, sentence: str) -> None:
        """Adds a sentence."""
        self._first.setdefault(kind, sentence)
        self._counts[kind] += 1

    def sentences(self) -> list[str]:
        """Returns a sentence for each kind."""
        return [
            f"{sentence} ({self._counts[kind] - 1} more like this.)"
            if self._counts[kind] > 1
            else sentence
            for kind, sentence in self._first.items()
        ]


class Reader:
    """Reads entries; those with problems are left out.

    Attributes:
        problems: Sentences about what must be corrected.
        warnings: Sentences about what was left out.
    """

    def __init__(self) -> None:
        self.problems = Sentences()
        self.warnings = Sentences()

    def _is_object(self, entry: Any, kind: str, where: str) -> bool:
        if isinstance(entry, dict):
            return True
        what = json_values.describe(entry)
        self.problems.add(kind, f"{where} is {what}. It must be an object.")
        return False

    def _take(
        self,
        entry: dict[str, Any],
        key: str,
        where: str,
        read: Callable[[Any], T],
        kind: str,
    ) -> T | None:
        """Reads a value that must be there; None after a problem."""
        if key not in entry:
            self.problems.add(f"{kind} {key}", f"{where} lacks {key}.")
            return None
        try:
            return read(entry[key])
        except ValueError as error:
            self.problems.add(f"{kind} {key}", f"{where}: {key} {error}")
            return None

    def _take_optional(
        self,
        entry: dict[str, Any],
        key: str,
        where: str,
        read: Callable[[Any], T],
        kind: str,
    ) -> T | None:
        """Reads a value that may be left out."""
        if entry.get(key) is None:
            return None
        try:
            return read(entry[key])
        except ValueError as error:
            self.warnings.add(
                f"{kind} {key}", f"{where}: {key} {error} It is left out."
            )
            return None

    def read_images(self, entries: Iterable[Any]) -> dict[int | str, Image]:
        """Reads the list `images`, to a dictionary by id.

        Args:
            entries: The list.
        """
        images = []
        for number, entry in enumerate(entries):
            where = f"images[{number}]"
            if not self._is_object(entry, "image", where):
                continue
            image_id = self._take(
                entry, "id", where, json_values.read_image_id, "image"
            )
            name = self._take(
                entry, "file_name", where, json_values.read_file_name, "image"
            )
            height, width = (
                self._take_optional(entry, key, where, _read_side, "image")
                for key in ("height", "width")
            )
            if image_id is not None and name is not None:
                images.append(Image(image_id, name, height, width))
        for key in ("id", "file_name"):
            twice = json_values.find_duplicates(
                getattr(image, key) for image in images
            )
            if twice:
                self.problems.add(
                    f"equal {key}",
                    f"{len(twice)} images have the same {key} as another: "
                    f"{json_values.summarize(twice)}.",
                )
        return {image.id: image for image in images}

    def read_annotations(self, entries: Iterable[Any]) -> list[Annotation]:
        """Reads the list `annotations`.

        Args:
            entries: The list.
        """
        annotations = []
        for number, entry in enumerate(entries):
            where = f"annotations[{number}]"
            if not self._is_object(entry, "annotation", where):
                continue
            image_id = self._take(
                entry, "image_id", where, json_values.read_image_id, "png"
            )
            name = self._take(
                entry, "file_name", where, json_values.read_file_name, "png"
            )
            if "segments_info" not in entry:
                self.problems.add("segments", f"{where} lacks segments_info.")
                continue
            if image_id is not None:
                where = f"Image {image_id!r}"
            segments = self.read_segments(entry["segments_info"], where)
            if image_id is not None and name is not None:
                packed = PackedSegments(segments) if segments else NO_SEGMENTS
                annotations.append(Annotation(image_id, name, packed))
        return annotations

    def index_annotations(
        self, annotations: Sequence[Annotation], ids: IdIndex
    ) -> dict[int | str, Annotation]:
        """Returns the annotations by image id.

        Args:
            annotations: Result of `read_annotations`.
            ids: Ids of `images`, which the annotations get.
        """
        indexed: list[Annotation] = []
        for one in annotations:
            found = ids.find(one.image_id)
            if found is not None and found != one.image_id:
                one = dataclasses.replace(one, image_id=found)
            indexed.append(one)
        twice = json_values.find_duplicates(one.image_id for one in indexed)
        if twice:
            self.problems.add(
                "annotated twice",
                f"{len(twice)} images have more than one annotation: image_id "
                f"{json_values.summarize(twice)}. All segments of an image "
                "belong in one.",
            )
        return {one.image_id: one for one in indexed}

    def read_segments(self, entries: Any, where: str) -> tuple[Segment, ...]:
        """Reads a list `segments_info`.

        Args:
            entries: The list.
            where: The image, for messages.
        """
        if not isinstance(entries, list):
            self.problems.add(
                "segments",
                f"{where}: segments_info is {json_values.describe(entries)}. "
                "It must be a list, which may be empty.",
            )
            return ()
        segments = []
        for number, entry in enumerate(entries):
            segment = _read_plain_segment(entry)
            if segment is None:
                segment = self._read_segment(
                    entry, f"{where}: segments_info[{number}]"
                )
            if segment is not None:
                segments.append(segment)
        if len({segment.id for segment in segments}) < len(segments):
            twice = json_values.find_duplicates(
                segment.id for segment in segments
            )
            self.problems.add(
                "segment twice",
                f"{where}: segment {twice[0]} is listed more than once. Each "
                "id of an image has one entry in segments_info.",
            )
        return tuple(segments)

    def _read_segment(self, entry: Any, where: str) -> Segment | None:
        if not self._is_object(entry, "segment", where):
            return None
        segment_id = self._take(entry, "id", where, _read_segment_id, "segment")
        category = self._take(
            entry, "category_id", where, json_values.read_integer, "segment"
        )
        area = self._take_optional(
            entry, "area", where, json_values.read_area, "segment"
        )
        score = self._take_optional(
            entry, "score", where, json_values.read_number, "segment"
        )
        is_crowd: bool | None = False
        if "iscrowd" in entry:
            is_crowd = self._take(
                entry, "iscrowd", where, json_values.read_flag, "segment"
            )
        if segment_id is None or category is None:
            return None
        return Segment(segment_id, category, area, bool(is_crowd), score)

    def read_categories(self, entries: Iterable[Any]) -> dict[int, Category]:
        """Reads the list `categories`, to a dictionary by id.

        Args:
            entries: The list.
        """
        objects = []
        for number, entry in enumerate(entries):
            if self._is_object(entry, "category", f"categories[{number}]"):
                objects.append((f"categories[{number}]", entry))
        colors = json_values.read_colors(
            [entry.get("color") for _, entry in objects]
        )
        categories: dict[int, Category] = {}
        for (where, entry), color in zip(objects, colors, strict=True):
            category_id = self._take(
                entry, "id", where, json_values.read_integer, "category"
            )
            name: str | None = ""
            if entry.get("name") not in (None, ""):
                name = self._take(
                    entry, "name", where, json_values.read_text, "category"
                )
            where = f"{where} ({name!r})" if name else where
            is_thing = None
            if "isthing" in entry:
                is_thing = self._take(
                    entry, "isthing", where, json_values.read_flag, "category"
                )
            if isinstance(color, ValueError):
                self.warnings.add(
                    "color", f"{where}: color {color} It is left out."
                )
                color = None
            if category_id is None or name is None:
                continue
            category = Category(category_id, name, is_thing, color)
            if categories.setdefault(category_id, category) != category:
                self.problems.add(
                    "category twice",
                    f"{where} has the id {category_id}, as "
                    f"{categories[category_id].name!r} has. Ids of categories "
                    "must differ.",
                )
        return categories


def _read_plain_segment(entry: Any) -> Segment | None:
    """Reads what well-formed files have; None for all else."""
    if type(entry) is not dict or "score" in entry:
        return None
    segment_id, category = entry.get("id"), entry.get("category_id")
    area, is_crowd = entry.get("area"), entry.get("iscrowd", 0)
    if (
        type(segment_id) is type(category) is type(is_crowd) is int
        and 0 < segment_id <= MAX_ID
        and 0 <= is_crowd <= 1
        and (area is None or (type(area) is int and 0 <= area <= MAX_ID))
    ):
        return Segment(segment_id, category, area, is_crowd == 1)
    return None


def _read_segment_id(value: Any) -> int:
    segment_id = json_values.read_integer(value)
    if segment_id == 0:
        raise ValueError(
            "is 0, which is void in the PNG (black pixels), no segment. Remove "
            "the entry if these pixels are not labeled; otherwise give the "
            "segment another id in the JSON and in the PNG."
        )
    if not 0 < segment_id <= MAX_ID:
        raise ValueError(
            f"is {json_values.describe(value)}. It must be 1..{MAX_ID}, "
            "R + 256 * G + 65536 * B of its pixels in the PNG."
        )
    return segment_id


def _read_side(value: Any) -> int:
    side = json_values.read_integer(value)
    if side < 1:
        raise ValueError(f"is {json_values.describe(value)}. It must be > 0.")
    return side
