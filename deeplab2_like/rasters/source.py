# SPDX-License-Identifier: Apache-2.0
"""An image that is read in windows."""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from deeplab2_like.storage.file_identity import Source


class Box(NamedTuple):
    """A rectangle of pixels; `bottom` and `right` are one behind the last.

    Attributes:
        top: First row.
        left: First column.
        bottom: Row behind the last.
        right: Column behind the last.
    """

    top: int
    left: int
    bottom: int
    right: int


class Window(NamedTuple):
    """A part of an image.

    Attributes:
        image: uint8 [h, w, 3], RGB; 0 where pixels could not be decoded.
        damaged: Where that is, in the coordinates of the whole image. The
            result is void there.
        void: bool [h, w], pixels without a value: transparent ones, and those
            with the value that stands for none. The result is void there.
            None where the part has none of them.
    """

    image: npt.NDArray[np.uint8]
    damaged: tuple[Box, ...] = ()
    void: npt.NDArray[np.bool_] | None = None


class LargeImage(Protocol):
    """An image that may be larger than memory.

    Attributes:
        path: Path of the file, for messages.
        height: Rows of pixels.
        width: Columns of pixels.
    """

    path: str
    height: int
    width: int

    def read(self, top: int, left: int, bottom: int, right: int) -> Window:
        """Reads a part, which lies within the image.

        Args:
            top: First row.
            left: First column.
            bottom: Row behind the last.
            right: Column behind the last.

        Raises:
            DataError: The file cannot be read at all.
        """

    def describe(self) -> Source:
        """Returns the identity of the file, by which a kill is gone on from."""
