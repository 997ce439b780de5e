# SPDX-License-Identifier: Apache-2.0
"""Slots of pixels, and tables of what the pixels of each slot are.

A slot says what a pixel belongs to: 0 nothing (outside of the image, damaged),
1..K an instance, K + 1 + c a pixel of class c outside of instances. As in
`postprocess.pixels.merging`, but for the numbers.

A table has a row for each pair of slot and class that occurs, so that tables of
bands can be added up. Consecutive pixels of a row that are alike are counted
together.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_Ints = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Table:
    """What the pixels are, by slot and class; R rows, ascending.

    Attributes:
        slot: int64 [R].
        category: int64 [R], the most probable class.
        count: int64 [R], pixels.
        units: int64 [R], sum of the probabilities of the class, in units of
            `averaging.UNITS`.
        top: int64 [R], first row of the pixels.
        bottom: int64 [R], row behind the last.
        left: int64 [R], first column.
        right: int64 [R], column behind the last.
    """

    slot: _Ints
    category: _Ints
    count: _Ints
    units: _Ints
    top: _Ints
    left: _Ints
    bottom: _Ints
    right: _Ints

    def as_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Returns the columns by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}


def tabulate(
    slot_hw: npt.NDArray[Any],
    category_hw: npt.NDArray[Any],
    units_hw: _Ints,
    top: int,
    num_classes: int,
) -> Table:
    """Makes the table of a band.

    Args:
        slot_hw: Integers [H, W], slots.
        category_hw: Integers [H, W] in 0..C-1.
        units_hw: int64 [H, W], probabilities.
        top: First row of the band in the image.
        num_classes: C.
    """
    width = slot_hw.shape[1]
    key_hw = slot_hw.astype(np.int64) * num_classes + category_hw
    begins = np.ones(key_hw.shape, bool)
    np.not_equal(key_hw[:, 1:], key_hw[:, :-1], out=begins[:, 1:])
    start = np.flatnonzero(begins)
    key = key_hw.ravel()[start]
    count = np.diff(start, append=key_hw.size)
    row, left = start // width + top, start % width
    runs = Table(
        slot=key // num_classes,
        category=key % num_classes,
        count=count,
        units=np.add.reduceat(units_hw.ravel(), start),
        top=row,
        left=left,
        bottom=row + 1,
        right=left + count,
    )
    return add_up([runs], num_classes)


def add_up(tables: Sequence[Table], num_classes: int) -> Table:
    """Adds up tables; rows of slot 0 are left out.

    Args:
        tables: Any number of them.
        num_classes: C.
    """
    columns = {
        field.name: np.concatenate(
            [np.zeros(0, np.int64), *(getattr(t, field.name) for t in tables)]
        )
        for field in dataclasses.fields(Table)
    }
    key = columns["slot"] * num_classes + columns["category"]
    order = np.argsort(key, kind="stable")
    order = order[columns["slot"][order] > 0]
    if not len(order):
        return Table(**{name: values[:0] for name, values in columns.items()})
    key = key[order]
    start = np.flatnonzero(np.diff(key, prepend=-1))
    return Table(
        **{
            name: _REDUCE[name].reduceat(values[order], start)
            for name, values in columns.items()
        }
    )


_REDUCE: dict[str, np.ufunc] = {
    "slot": np.minimum,
    "category": np.minimum,
    "count": np.add,
    "units": np.add,
    "top": np.minimum,
    "left": np.minimum,
    "bottom": np.maximum,
    "right": np.maximum,
}
