# SPDX-License-Identifier: Apache-2.0
"""Reads parts of the planes of TIFF files, by tifffile's decoders.

A plane is a page, or a part of a page of ImageJ, which stores all planes one
after the other.
"""

import dataclasses
import threading
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from deeplab2_like.rasters.source import Box

# Rows of images without compression are read in pieces of about this size.
_ROW_BYTES = 1 << 22
_PLAIN_BITS = (8, 16, 32, 64)


class Plane(Protocol):
    """A plane of an image."""

    @property
    def chunk(self) -> tuple[int, int]:
        """The (rows, columns) that are decoded at once."""

    @property
    def samples(self) -> int:
        """Values of a pixel."""

    def read(self, box: Box, samples: Sequence[int]) -> npt.NDArray[Any] | None:
        """Reads a chunk: [h, w, len(samples)], or None where none is stored.

        Raises:
            Exception: Of any kind, where it is damaged.
        """


class ReadFile:
    """The bytes of an open file, for several threads."""

    def __init__(self, handle: Any):
        """Stores the handle, tifffile's."""
        self._handle = handle
        self._lock = threading.Lock()

    def read(self, offset: int, count: int) -> bytes:
        """Reads bytes; raises `EOFError` where the file ends before."""
        with self._lock:
            self._handle.seek(offset)
            found: bytes = self._handle.read(count)
        if len(found) < count:
            raise EOFError(f"the file ends {count - len(found)} bytes before")
        return found


@dataclasses.dataclass(frozen=True, eq=False)
class RowPlane:
    """A plane without compression, whose rows are read where they are.

    Attributes:
        file: The file.
        size: (height, width).
        samples: Values of a pixel, one beside the other.
        dtype: Type of the values in the file, with its byte order.
        offsets: Byte where each strip begins.
        strip_rows: Rows of a strip.
    """

    file: ReadFile
    size: tuple[int, int]
    samples: int
    dtype: np.dtype[Any]
    offsets: Sequence[int]
    strip_rows: int

    @property
    def chunk(self) -> tuple[int, int]:
        """As many rows as make up a few megabytes."""
        rows = max(1, _ROW_BYTES // self._row_bytes)
        return min(rows, self.size[0]), self.size[1]

    @property
    def _row_bytes(self) -> int:
        return self.size[1] * self.samples * self.dtype.itemsize

    def read(self, box: Box, samples: Sequence[int]) -> npt.NDArray[Any] | None:
        """Reads rows, strip by strip; see `Plane.read`."""
        parts = []
        row = box.top
        while row < box.bottom:
            strip, first = divmod(row, self.strip_rows)
            end = min((strip + 1) * self.strip_rows, box.bottom)
            start = self.offsets[strip]
            if not start:
                return None
            parts.append(
                self.file.read(
                    start + first * self._row_bytes,
                    (end - row) * self._row_bytes,
                )
            )
            row = end
        values = np.frombuffer(b"".join(parts), self.dtype).reshape(
            box.bottom - box.top, self.size[1], self.samples
        )
        chosen = values[:, box.left : box.right, list(samples)]
        return chosen.astype(self.dtype.newbyteorder("="), copy=False)


class PagePlane:
    """A page in tiles or compressed strips."""

    def __init__(self, page: Any, file: ReadFile):
        """Checks that the page can be decoded.

        Raises:
            ValueError: Its kind is not known to tifffile, or it lists less
                tiles than it has.
        """
        self._page, self._file = page, file
        self._samples = int(page.samplesperpixel)
        self._is_apart = int(page.planarconfig) == 2 and self._samples > 1
        self._item_bytes = np.dtype(page.dtype).itemsize
        height, width = int(page.imagelength), int(page.imagewidth)
        if page.is_tiled:
            chunk = (int(page.tilelength), int(page.tilewidth))
        else:
            chunk = (min(int(page.rowsperstrip), height), width)
        if min(chunk) < 1:
            raise ValueError("its tiles have no pixels")
        self._chunk = chunk
        self._across = -(-width // chunk[1])
        self._count = -(-height // chunk[0]) * self._across
        needed = self._count * (self._samples if self._is_apart else 1)
        listed = min(len(page.dataoffsets), len(page.databytecounts))
        if listed < needed:
            raise ValueError(
                f"it lists {listed} tiles or strips and has {needed}"
            )
        page.decode(None, 0)  # Raises where no decoder is known.
        # What may read the file is read now, by one thread.
        self._offsets, self._counts = page.dataoffsets, page.databytecounts
        self._tables, self._header = page.jpegtables, page.jpegheader

    @property
    def chunk(self) -> tuple[int, int]:
        """See `Plane`."""
        return self._chunk

    @property
    def samples(self) -> int:
        """See `Plane`."""
        return self._samples

    def read(self, box: Box, samples: Sequence[int]) -> npt.NDArray[Any] | None:
        """Decodes a tile or strip; see `Plane.read`."""
        index = (
            box.top // self.chunk[0] * self._across + box.left // self.chunk[1]
        )
        size = (box.bottom - box.top, box.right - box.left)
        if not self._is_apart:
            values = self._decode(index)
            if values is None:
                return None
            return values[: size[0], : size[1], list(samples)]
        parts = [self._decode(index + self._count * s) for s in samples]
        if any(part is None for part in parts):
            return None
        return np.concatenate(
            [p[: size[0], : size[1], :1] for p in parts if p is not None], -1
        )

    def _decode(self, index: int) -> npt.NDArray[Any] | None:
        offset, count = self._offsets[index], self._counts[index]
        if not offset or not count:
            return None
        limit = self.chunk[0] * self.chunk[1] * self._samples
        limit *= self._item_bytes
        if count > 2 * limit + (1 << 16):
            raise ValueError(f"it has {count} bytes for {limit} of pixels")
        values, _, _ = self._page.decode(
            self._file.read(offset, count),
            index,
            jpegtables=self._tables,
            jpegheader=self._header,
        )
        return None if values is None else values[0]


def open_page(page: Any, file: ReadFile, byte_order: str) -> Plane:
    """Returns the plane of a page.

    Args:
        page: The page, of tifffile.
        file: Its file.
        byte_order: "<" or ">".

    Raises:
        ValueError: See `PagePlane`.
    """
    is_plain = (
        not page.is_tiled
        and int(page.compression) == 1
        and int(page.predictor) == 1
        and int(page.fillorder) == 1
        and page.bitspersample in _PLAIN_BITS
        and (int(page.planarconfig) == 1 or page.samplesperpixel == 1)
        and page.dtype is not None
    )
    if not is_plain:
        return PagePlane(page, file)
    size = (int(page.imagelength), int(page.imagewidth))
    strips = -(-size[0] // max(1, min(int(page.rowsperstrip), size[0])))
    if len(page.dataoffsets) < strips:
        raise ValueError(
            f"it lists {len(page.dataoffsets)} strips and has {strips}"
        )
    return RowPlane(
        file,
        size,
        int(page.samplesperpixel),
        np.dtype(page.dtype).newbyteorder(byte_order),
        page.dataoffsets,
        min(int(page.rowsperstrip), size[0]),
    )
