# SPDX-License-Identifier: Apache-2.0
"""The slices of stacks as images of 8 bits and three colors."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.storage import pixel_values, volumes


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
        if value_range is None and pixel_values.needs_range(volume.dtype):
            self._range = pixel_values.find_range(_read_all(volume))
            log(pixel_values.describe_range(volume.path, self._range))

    def convert(self, values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Returns the values of a slice as 8 bits."""
        return pixel_values.to_bytes(values, self._range)

    def to_rgb(self, values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Returns a slice as uint8 [H, W, 3]; gray gives three equal colors."""
        return pixel_values.to_three(self.convert(values))


def _read_all(volume: volumes.Volume) -> Iterator[npt.NDArray[Any]]:
    """Yields the slices that can be read."""
    for number in range(volume.shape[0]):
        with contextlib.suppress(errors.DataError):
            yield volume.read(number)


def load_plane(
    planes: npt.NDArray[np.uint8], number: int
) -> npt.NDArray[np.uint8]:
    """Returns a plane of a volume as uint8 [H, W, 3]."""
    return pixel_values.to_three(planes[number])
