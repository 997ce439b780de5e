# SPDX-License-Identifier: Apache-2.0
"""The slices of stacks as images of 8 bits and three colors."""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.storage import volumes


class PixelValues:
    """The conversion of the values of a volume to 8 bits."""

    def __init__(
        self,
        volume: volumes.Volume,
        value_range: tuple[float, float] | None,
        log: Callable[[str], None],
    ):
        """Finds the range of the values, for which all slices are read.

        Values of 8 bits remain as they are, unless a range is given.

        Args:
            volume: The stack.
            value_range: (low, high), values that become 0 and 255; None: the
                least and the largest value.
            log: Function that is called with a sentence about these.
        """
        self._range = value_range
        if value_range is None and volume.dtype != np.uint8:
            low, high = np.inf, -np.inf
            for number in range(volume.shape[0]):
                with contextlib.suppress(errors.DataError):
                    values = volume.read(number)
                    low = min(low, float(np.nanmin(values)))
                    high = max(high, float(np.nanmax(values)))
            if not np.isfinite(low + high):
                low, high = 0.0, 1.0
            self._range = (low, high if high > low else low + 1.0)
            log(
                f"{volume.path}: values {low:g}..{high:g} become 0..255; "
                "--value_range gives others."
            )

    def convert(self, values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Returns the values of a slice as 8 bits."""
        if self._range is None:
            return np.asarray(values, np.uint8)
        low, high = self._range
        scaled = (values.astype(np.float32) - low) * (255.0 / (high - low))
        return np.clip(np.nan_to_num(scaled) + 0.5, 0, 255).astype(np.uint8)

    def to_rgb(self, values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Returns a slice as uint8 [H, W, 3]; gray gives three equal colors."""
        return to_three(self.convert(values))


def to_three(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Returns uint8 [H, W] or [H, W, 3] as uint8 [H, W, 3]."""
    if values.ndim == 2:
        values = np.repeat(values[..., np.newaxis], 3, axis=-1)
    return np.ascontiguousarray(values)


def load_plane(
    planes: npt.NDArray[np.uint8], number: int
) -> npt.NDArray[np.uint8]:
    """Returns a plane of a volume as uint8 [H, W, 3]."""
    return to_three(planes[number])
