# SPDX-License-Identifier: Apache-2.0
"""Values, areas and boxes of the segments of label maps. NumPy only.

Label maps consist of long runs of equal values. These functions read all pixels
once, to find where a value changes along a row, and then only these places
(about 1 % of the pixels).
"""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

# Values within a range of this size are numbered through a table, others by
# sorting.
MAX_TABLE = 1 << 20


@dataclasses.dataclass(frozen=True)
class MapSegments:
    """The segments of one label map: the pixels of equal value.

    Attributes:
        ids: int64 [N], the values, ascending.
        areas: int64 [N], pixels of each.
        boxes: int64 [N, 4], (y, x, height, width) of each, in pixels.
    """

    ids: npt.NDArray[np.int64]
    areas: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.int64]


def compute_segments(labels_hw: npt.NDArray[Any]) -> MapSegments:
    """Computes the values, areas and bounding boxes of a label map.

    Args:
        labels_hw: Integers [H, W], any values.
    """
    height, width = labels_hw.shape
    if labels_hw.size == 0:
        empty = np.zeros(0, np.int64)
        return MapSegments(empty, empty, np.zeros((0, 4), np.int64))
    labels_hw = np.ascontiguousarray(labels_hw)
    changes = np.ones((height, width), bool)
    np.not_equal(labels_hw[:, 1:], labels_hw[:, :-1], out=changes[:, 1:])
    starts = np.flatnonzero(changes)
    lengths = np.diff(starts, append=labels_hw.size)
    y, x = np.divmod(starts, width)
    ids, index = number_values(labels_hw.reshape(-1)[starts])

    order = np.argsort(index, kind="stable")
    first = np.searchsorted(index[order], np.arange(len(ids)))
    top = np.minimum.reduceat(y[order], first)
    left = np.minimum.reduceat(x[order], first)
    bottom = np.maximum.reduceat(y[order], first) + 1
    right = np.maximum.reduceat((x + lengths)[order], first)
    boxes = np.stack([top, left, bottom - top, right - left], axis=1)
    areas = sum_at(index, lengths, len(ids))
    return MapSegments(ids, areas, boxes.astype(np.int64))


def number_values(
    values: npt.NDArray[Any],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Numbers the different values.

    Args:
        values: Integers [...].

    Returns:
        int64 [N], the different values, ascending, and int64 [...], for each
        entry of `values` its index among them.
    """
    values = values.astype(np.int64)
    if values.size == 0:
        return np.zeros(0, np.int64), values
    low = int(values.min())
    size = int(values.max()) - low + 1
    if size > MAX_TABLE:
        ids, index = np.unique(values, return_inverse=True)
        return ids, index.astype(np.int64).reshape(values.shape)
    values -= low
    numbers = np.zeros(size, np.int64)
    numbers[values] = 1
    ids = np.flatnonzero(numbers).astype(np.int64)
    numbers[ids] = np.arange(len(ids))
    return ids + low, numbers[values]


def sum_at(
    index: npt.NDArray[Any], values: npt.NDArray[Any], size: int
) -> npt.NDArray[np.int64]:
    """Sums values by index: int64 [size], exact below 2**53.

    Args:
        index: Integers [N] in 0..size - 1.
        values: Integers [N].
        size: Number of sums.
    """
    sums = np.bincount(index, weights=values, minlength=size)
    return sums.astype(np.int64)


def replace_values(
    labels_hw: npt.NDArray[Any],
    values: npt.NDArray[Any],
    replacements: npt.NDArray[Any],
    default: int = 0,
) -> npt.NDArray[np.int32]:
    """Replaces values of a label map: int32 [H, W].

    Args:
        labels_hw: Integers [H, W], any values.
        values: Integers [N], each only once.
        replacements: Integers [N], the new value of each of `values`.
        default: New value of all others.
    """
    labels_hw = np.asarray(labels_hw)
    if labels_hw.size == 0:
        return np.zeros(labels_hw.shape, np.int32)
    low, high = int(labels_hw.min()), int(labels_hw.max())
    if high - low >= MAX_TABLE:
        present, index = number_values(labels_hw)
    else:
        present, index = np.arange(low, high + 1), labels_hw
        if low:
            index = labels_hw.astype(np.int64) - low
    table = np.full(len(present), default, np.int32)
    position = np.searchsorted(present, values)
    position = np.minimum(position, len(present) - 1)
    occurs = present[position] == values
    table[position[occurs]] = np.asarray(replacements)[occurs]
    return table[index]
