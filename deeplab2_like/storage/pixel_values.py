# SPDX-License-Identifier: Apache-2.0
"""Values of any type as 8 bits: one rule for stacks and large images."""

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Range = tuple[float, float]

_TABLE_TYPES = (np.uint8, np.uint16)


def needs_range(dtype: np.dtype[Any]) -> bool:
    """Returns whether values need a range to become 8 bits."""
    return dtype != np.uint8


def find_range(parts: Iterable[npt.NDArray[Any]]) -> Range:
    """Returns the least and the largest value that is finite.

    Args:
        parts: All values, in arrays of any shapes.

    Returns:
        (low, high) with low < high; high is low + 1 where all values are
        equal, and (0, 1) where there is none.
    """
    low, high = np.inf, -np.inf
    for values in parts:
        if values.dtype.kind == "f":
            values = values[np.isfinite(values)]
        if values.size:
            low = min(low, float(values.min()))
            high = max(high, float(values.max()))
    if low > high:
        return 0.0, 1.0
    return low, high if high > low else low + 1.0


def describe_range(path: str, value_range: Range) -> str:
    """Returns a sentence that states the range that was found."""
    low, high = value_range
    return (
        f"{path}: values {low:g}..{high:g} become 0..255; --value_range gives "
        "others."
    )


def to_bytes(
    values: npt.NDArray[Any], value_range: Range | None
) -> npt.NDArray[np.uint8]:
    """Returns values as 8 bits.

    Args:
        values: Values of any shape; those that are no numbers become 0.
        value_range: (low, high), which become 0 and 255, and values beyond
            them too; None: the values are 8 bits already.
    """
    if value_range is None:
        return np.asarray(values, np.uint8)
    if values.dtype.type in _TABLE_TYPES:
        table = _make_table(values.dtype.str, value_range)
        return np.asarray(np.take(table, values))
    return _scale(values, value_range)


@functools.lru_cache(maxsize=4)
def _make_table(dtype: str, value_range: Range) -> npt.NDArray[np.uint8]:
    every = np.arange(np.iinfo(dtype).max + 1, dtype=np.int64)
    return _scale(every.astype(dtype), value_range)


def _scale(
    values: npt.NDArray[Any], value_range: Range
) -> npt.NDArray[np.uint8]:
    low, high = value_range
    scaled = (values.astype(np.float32) - low) * (255.0 / (high - low))
    return np.clip(np.nan_to_num(scaled) + 0.5, 0, 255).astype(np.uint8)


def to_three(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Returns uint8 [H, W] or [H, W, 3] as uint8 [H, W, 3]."""
    if values.ndim == 2:
        values = np.repeat(values[..., np.newaxis], 3, axis=-1)
    return np.ascontiguousarray(values)
