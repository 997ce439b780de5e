# SPDX-License-Identifier: Apache-2.0
"""Which pixels of a band count: those of the image that have a value."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt

from deeplab2_like.large_images.source import Box

Rows = Callable[[int, int], npt.NDArray[np.bool_]]


class ValidPixels:
    """The pixels of an image that are not damaged, and not without value."""

    def __init__(
        self,
        size: tuple[int, int],
        damaged: Iterable[Box] = (),
        void: Mapping[Box, Rows] | None = None,
    ):
        """Stores what is known; reads nothing.

        Args:
            size: (height, width) of the image.
            damaged: Where the image is damaged.
            void: Parts with pixels without a value, and functions that return
                which these are in some rows: bool [rows, width of the part].
        """
        self._height, self._width = size
        self._damaged = list(damaged)
        self._void = dict(void or {})

    def mask(self, top: int, bottom: int, width: int) -> npt.NDArray[np.bool_]:
        """Returns which pixels of some rows count.

        Args:
            top: First row, which may lie outside of the image.
            bottom: Row behind the last.
            width: Number of columns, those outside of the image included.

        Returns:
            bool [bottom - top, width].
        """
        rows = np.arange(top, bottom)
        is_row = (rows >= 0) & (rows < self._height)
        is_valid = is_row[:, np.newaxis] & (np.arange(width) < self._width)
        for box, read in self._void.items():
            first, last = max(box.top, top), min(box.bottom, bottom)
            if first < last:
                part = is_valid[first - top : last - top, box.left : box.right]
                part &= ~read(first - box.top, last - box.top)
        for box in self._damaged:
            first, last = max(box.top - top, 0), min(box.bottom, bottom) - top
            if first < last:
                is_valid[first:last, box.left : box.right] = False
        return is_valid
