# SPDX-License-Identifier: Apache-2.0
"""What moved masks share with the segments of a map, and with each other."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deeplab2_like.labels import masks

Shift = tuple[int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class Shape:
    """The pixels of a segment.

    Attributes:
        mask: The pixels.
        area: Their number.
        center: (y, x), the mean of their places, in pixels.
    """

    mask: masks.Mask
    area: int
    center: tuple[float, float]


class Agreement(NamedTuple):
    """How much two masks have in common.

    Attributes:
        iou: Shared pixels by those of either, above 0 and at most 1.
        cover: Shared pixels by those of the smaller mask; the moved one counts
            whole, so that a rest at the border of the picture, which any
            segment there covers, says little.
    """

    iou: float
    cover: float


def find_shape(
    index_hw: npt.NDArray[Any], index: int, box: Sequence[int]
) -> Shape:
    """Returns the pixels of a map that have a value.

    Args:
        index_hw: Integers [H, W].
        index: The value, which occurs.
        box: (y, x, height, width) of its pixels.
    """
    y, x, height, width = box
    pixels = index_hw[y : y + height, x : x + width] == index
    rows, columns = pixels.sum(axis=1), pixels.sum(axis=0)
    area = int(rows.sum())
    # Whole numbers until the division, so that every machine agrees.
    center_y = y + int((rows * np.arange(height)).sum()) / area
    center_x = x + int((columns * np.arange(width)).sum()) / area
    return Shape(masks.Mask(y, x, pixels), area, (center_y, center_x))


def compare(
    shape: Shape,
    index_hw: npt.NDArray[Any],
    areas: npt.NDArray[np.int64],
    shift: Shift = (0, 0),
) -> dict[int, Agreement]:
    """Compares a moved mask with the segments that it meets.

    What is moved out of the picture does not count, but for the cover.

    Args:
        shape: The mask before it is moved.
        index_hw: Integers [H, W], number of the segment of each pixel; 0 is
            none.
        areas: int64 [N + 1], pixels of each segment.
        shift: Rows and columns by which the mask is moved.

    Returns:
        By number of the segment, those that share a pixel with the mask.
    """
    top, left = shape.mask.top + shift[0], shape.mask.left + shift[1]
    height, width = shape.mask.pixels.shape
    y0, y1 = max(top, 0), min(top + height, index_hw.shape[0])
    x0, x1 = max(left, 0), min(left + width, index_hw.shape[1])
    if y0 >= y1 or x0 >= x1:
        return {}
    pixels = shape.mask.pixels[y0 - top : y1 - top, x0 - left : x1 - left]
    met = index_hw[y0:y1, x0:x1][pixels]
    numbers, counts = np.unique(met, return_counts=True)
    return {
        number: Agreement(
            count / (len(met) + int(areas[number]) - count),
            count / min(shape.area, int(areas[number])),
        )
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True)
        if number
    }


def compute_shape_iou(first: Shape, second: Shape) -> float:
    """Computes the IoU of two masks whose centers are laid upon each other.

    The first is moved by whole pixels.
    """
    shift = round_shift(
        second.center[0] - first.center[0], second.center[1] - first.center[1]
    )
    a, b = first.mask, second.mask
    top, left = a.top + shift[0], a.left + shift[1]
    y0, x0 = max(top, b.top), max(left, b.left)
    y1 = min(top + a.pixels.shape[0], b.top + b.pixels.shape[0])
    x1 = min(left + a.pixels.shape[1], b.left + b.pixels.shape[1])
    if y0 >= y1 or x0 >= x1:
        return 0.0
    shared = np.count_nonzero(
        a.pixels[y0 - top : y1 - top, x0 - left : x1 - left]
        & b.pixels[y0 - b.top : y1 - b.top, x0 - b.left : x1 - b.left]
    )
    return shared / (first.area + second.area - shared)


def round_shift(dy: float, dx: float) -> Shift:
    """Rounds a shift to whole pixels, halves up."""
    return int(np.floor(dy + 0.5)), int(np.floor(dx + 0.5))
