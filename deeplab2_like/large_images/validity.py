# SPDX-License-Identifier: Apache-2.0
"""Which pixels of a band count: those of the image that could be read."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from deeplab2_like.large_images.source import Box


class ValidPixels:
    """The pixels of an image that are not damaged.

    Attributes:
        damaged: Where the image is damaged.
    """

    def __init__(self, size: tuple[int, int], damaged: Iterable[Box]):
        """Stores the size of the image, (height, width), and its damage."""
        self._height, self._width = size
        self.damaged = sorted(set(damaged))

    def mask(
        self, top: int, bottom: int, width: int
    ) -> npt.NDArray[np.bool_]:
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
        for box in self.damaged:
            first, last = max(box.top - top, 0), min(box.bottom, bottom) - top
            if first < last:
                is_valid[first:last, box.left : box.right] = False
        return is_valid
