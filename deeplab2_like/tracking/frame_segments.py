# SPDX-License-Identifier: Apache-2.0
"""The segments of a frame with their pixels, as linking takes them."""

import dataclasses
from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like.labels import label_map
from deeplab2_like.tracking import moved_masks
from deeplab2_like.tracking.moved_masks import Shape


@dataclasses.dataclass(frozen=True)
class Segment:
    """A segment of a frame.

    Attributes:
        id: Its value in the map of the frame.
        category: Number of its class.
        is_object: Whether it is one object. Stuff and groups of objects are
            not: all of one class belong to one track.
    """

    id: int
    category: int
    is_object: bool = True


@dataclasses.dataclass(frozen=True, eq=False)
class FrameSegments:
    """The N segments of a frame in the order of their first pixels.

    Attributes:
        segments: The segments that have a pixel.
        shapes: Pixels of each.
        index_hw: int32 [H, W], place in `segments` of each pixel, from 1; 0: no
            segment.
        areas: int64 [N + 1], pixels of each of these.
        centers: float64 [N, 2], (y, x) of the segments.
    """

    segments: list[Segment]
    shapes: list[Shape]
    index_hw: npt.NDArray[np.int32]
    areas: npt.NDArray[np.int64]
    centers: npt.NDArray[np.float64]

    def list_free(
        self, taken: Container[int]
    ) -> dict[int, npt.NDArray[np.int64]]:
        """Returns the rows of objects that are not `taken`, by class."""
        rows: dict[int, list[int]] = {}
        for row, segment in enumerate(self.segments):
            if segment.is_object and row not in taken:
                rows.setdefault(segment.category, []).append(row)
        return {k: np.array(values, np.int64) for k, values in rows.items()}


def find_segments(
    ids_hw: npt.NDArray[Any], segments: Sequence[Segment]
) -> FrameSegments:
    """Finds the pixels of the segments of a frame.

    Args:
        ids_hw: Integers [H, W], ids of the segments.
        segments: The segments, each id once.
    """
    index_hw = label_map.replace_values(
        np.asarray(ids_hw),
        np.array([segment.id for segment in segments], np.int64),
        np.arange(1, len(segments) + 1),
    )
    found = label_map.compute_segments(index_hw)
    present = [
        (segments[number - 1], number, box)
        for number, box in zip(
            found.ids.tolist(), found.boxes.tolist(), strict=True
        )
        if number
    ]
    present.sort(key=lambda entry: _find_first(index_hw, *entry[1:]))
    table = np.zeros(len(segments) + 1, np.int32)
    table[[number for _, number, _ in present]] = np.arange(len(present)) + 1
    index_hw = table[index_hw]
    shapes = [
        moved_masks.find_shape(index_hw, row, box)
        for row, (_, _, box) in enumerate(present, 1)
    ]
    return FrameSegments(
        [segment for segment, _, _ in present],
        shapes,
        index_hw,
        np.array([0, *(shape.area for shape in shapes)], np.int64),
        np.array([shape.center for shape in shapes]).reshape(-1, 2),
    )


def _find_first(
    index_hw: npt.NDArray[np.int32], number: int, box: Sequence[int]
) -> tuple[int, int]:
    """Returns (y, x) of the first pixel of a segment."""
    y, x, _, width = box
    return y, x + int(np.argmax(index_hw[y, x : x + width] == number))
