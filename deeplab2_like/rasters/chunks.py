# SPDX-License-Identifier: Apache-2.0
"""What the readers of files have in common: an image as a grid of chunks."""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.rasters.georeference import Georeference

# Extra of this package that installs the readers of TIFF and of Zarr.
EXTRA = "large_images"
# A chunk is decoded as a whole, so that its size is a part of the memory.
MAX_CHUNK_BYTES = 1 << 28


@dataclasses.dataclass(frozen=True, eq=False)
class Decoded:
    """The pixels of a chunk.

    Attributes:
        values: [h, w, channels], of the type of the image.
        is_valid: bool [h, w], which pixels have a value; None: all.
    """

    values: npt.NDArray[Any]
    is_valid: npt.NDArray[np.bool_] | None = None


@dataclasses.dataclass(frozen=True)
class PixelScale:
    """The size of a pixel, where a file states it.

    Attributes:
        height: Its height in `unit`.
        width: Its width in `unit`.
        unit: Name of the unit, as in OME-Zarr; "" where it is unknown.
    """

    height: float = 1.0
    width: float = 1.0
    unit: str = ""


class Chunks(abc.ABC):
    """A file whose image is stored in rectangles of one size.

    Attributes:
        path: Path of the file.
        height: Rows of pixels.
        width: Columns of pixels.
        dtype: Type of the values.
        channels: Number of channels, without alpha.
        color_channels: The channels, from 0, that the file says are red,
            green and blue; None where it says nothing.
        chunk: (rows, columns) of a chunk; those at the lower and right border
            of the image are cut.
        chunk_channels: Channels that are decoded with it.
        scale: Size of a pixel.
        georeference: Where on earth the image lies; None where the file does
            not say.
    """

    path: str
    height: int
    width: int
    dtype: np.dtype[Any]
    channels: int
    color_channels: tuple[int, int, int] | None = None
    chunk: tuple[int, int]
    chunk_channels: int
    scale: PixelScale = PixelScale()
    georeference: Georeference | None = None

    @abc.abstractmethod
    def decode(
        self, box: tuple[int, int, int, int], channels: Sequence[int]
    ) -> Decoded:
        """Decodes a chunk.

        Args:
            box: (top, left, bottom, right) of the chunk, within the image.
            channels: The channels, from 0, in the order of the result.

        Raises:
            DataError: It is damaged.
            InstallError: The package for its compression is not installed.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Closes the file."""

    def check(self) -> None:
        """Checks what all kinds of files have in common.

        Raises:
            DataError: The image is empty, its chunks are too large to be
                decoded, or its values are no numbers.
        """
        if min(self.height, self.width, self.channels) < 1:
            raise errors.DataError(
                f"{self.path} holds an image of {self.height} x {self.width} "
                "pixels (height x width). It must have at least one."
            )
        if self.dtype.kind not in "buif":
            raise errors.DataError(
                f"{self.path} has values of the type {self.dtype}. Read are "
                "whole numbers and floats: save it as one of them."
            )
        rows, columns = self.chunk
        size = rows * columns * self.chunk_channels * self.dtype.itemsize
        if size > MAX_CHUNK_BYTES:
            raise errors.DataError(
                f"{self.path} is stored in pieces of {rows} x {columns} pixels "
                f"(height x width), {size / 2**20:.0f} MiB each, which can "
                "only be decoded as a whole; the limit is "
                f"{MAX_CHUNK_BYTES / 2**20:.0f} MiB. Save it in tiles, for "
                "example with: vips tiffsave IN OUT.tif --tile "
                "--compression=deflate --bigtiff; or without compression."
            )
