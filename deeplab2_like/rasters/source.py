# SPDX-License-Identifier: Apache-2.0
"""An image that is read in windows."""

import abc
import dataclasses
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from deeplab2_like.rasters.chunks import PixelScale
from deeplab2_like.rasters.georeference import Georeference
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


@dataclasses.dataclass(frozen=True)
class Place:
    """Where an image lies.

    Attributes:
        georeference: Where on earth; None where it is unknown.
        scale: Size of a pixel.
    """

    georeference: Georeference | None = None
    scale: PixelScale = dataclasses.field(default_factory=PixelScale)


@dataclasses.dataclass(frozen=True)
class Reading:
    """What an image of several channels, or of more than 8 bits, is read as.

    Attributes:
        channels: Channels of the file, from 0, that are red, green and blue.
            None: it has these three.
        value_range: (low, high), values that become 0 and 255; None: those of
            8 bits as stored.
    """

    channels: tuple[int, int, int] | None = None
    value_range: tuple[float, float] | None = None


class LargeImage(abc.ABC):
    """An image that may be larger than memory.

    Attributes:
        path: Path of the file, for messages.
        height: Rows of pixels.
        width: Columns of pixels.
    """

    path: str
    height: int
    width: int

    @property
    def place(self) -> Place:
        """Where the image lies; unknown unless its kind of files says it."""
        return Place()

    @property
    def reading(self) -> Reading:
        """What the image is read as; results depend on it."""
        return Reading()

    @abc.abstractmethod
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

    @abc.abstractmethod
    def describe(self) -> Source:
        """Returns the identity of the file, by which a kill is gone on from."""
