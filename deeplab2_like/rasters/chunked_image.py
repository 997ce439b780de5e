# SPDX-License-Identifier: Apache-2.0
"""Windows of an image that is stored in chunks, as RGB of 8 bits."""

import collections
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.rasters import channels as channels_lib
from deeplab2_like.rasters.chunks import Chunks, PixelScale
from deeplab2_like.rasters.georeference import Georeference
from deeplab2_like.rasters.source import Box, Window
from deeplab2_like.storage import file_identity, pixel_values

CACHE_BYTES = 1 << 28


class _Chunk(NamedTuple):
    """A chunk as it is kept: uint8 [h, w, 3], or None where it is damaged."""

    image: npt.NDArray[np.uint8] | None
    void: npt.NDArray[np.bool_] | None

    @property
    def size(self) -> int:
        """Bytes in memory."""
        parts = (self.image, self.void)
        return sum(part.nbytes for part in parts if part is not None)


class ChunkedImage:
    """A large image; the `LargeImage` of all kinds of files.

    In memory are the decoded chunks that were used last, of at most
    `cache_bytes` (and one chunk), as RGB of 8 bits. Several threads may read.

    Attributes:
        path: Path of the file.
        height: Rows of pixels.
        width: Columns of pixels.
        channels: The channels of the file, from 0, that are red, green, blue.
        problems: A sentence for each damaged chunk that was met so far.
        scale: Size of a pixel, where the file states it.
        georeference: Where on earth the image lies; None where the file does
            not say.
    """

    def __init__(
        self,
        chunks: Chunks,
        *,
        value_range: pixel_values.Range | None = None,
        channels: Sequence[int] | None = None,
        cache_bytes: int = CACHE_BYTES,
        log: Callable[[str], None] = lambda _: None,
    ):
        """Checks what is to be read; decodes nothing.

        Args:
            chunks: The file, which is closed with this.
            value_range: (low, high), values that become 0 and 255. None: those
                of 8 bits remain; of others the least and the largest value of
                the chosen channels, for which the image is read once.
            channels: Numbers of channels from 1; see `channels.choose`.
            cache_bytes: Most bytes of decoded chunks.
            log: Function that is called with a sentence about the range.

        Raises:
            ConfigError: The channels are no legal choice.
            DataError: The image is empty, or has no such channels.
        """
        chunks.check()
        self.path = chunks.path
        self.height, self.width = chunks.height, chunks.width
        self.channels = channels_lib.choose(
            chunks.path, chunks.channels, channels, chunks.color_channels
        )
        self.problems: list[str] = []
        self.scale: PixelScale = chunks.scale
        self.georeference: Georeference | None = getattr(
            chunks, "georeference", None
        )
        self._noted: set[tuple[int, int]] = set()
        self._chunks, self._log = chunks, log
        self._range = value_range
        self._needs_range = value_range is None and pixel_values.needs_range(
            chunks.dtype
        )
        self._distinct = sorted({*self.channels})
        self._cache: collections.OrderedDict[tuple[int, int], _Chunk] = (
            collections.OrderedDict()
        )
        self._cache_bytes, self._used_bytes = cache_bytes, 0
        self._lock = threading.RLock()

    def describe(self) -> file_identity.Source:
        """Returns the identity of the file or folder."""
        return file_identity.describe(self.path)

    @property
    def value_range(self) -> pixel_values.Range | None:
        """(low, high), values that become 0 and 255; None: 8 bits as stored.

        The first time it may be found by reading the whole image, chunk by
        chunk; damaged chunks do not count.
        """
        with self._lock:
            if self._needs_range:
                found = pixel_values.find_range(self._read_values())
                self._range, self._needs_range = found, False
                self._log(pixel_values.describe_range(self.path, found))
            return self._range

    def _read_values(self) -> Iterator[npt.NDArray[Any]]:
        for row in range(-(-self.height // self._chunks.chunk[0])):
            for column in range(-(-self.width // self._chunks.chunk[1])):
                box = self._find_box(row, column)
                try:
                    found = self._chunks.decode(box, self._distinct)
                except errors.DataError as error:
                    self._note(row, column, str(error))
                    continue
                if found.is_valid is None:
                    yield found.values
                else:
                    yield found.values[found.is_valid]

    def read(self, top: int, left: int, bottom: int, right: int) -> Window:
        """Reads a part of the image; see `LargeImage.read`."""
        if not (0 <= top < bottom <= self.height) or not (
            0 <= left < right <= self.width
        ):
            raise IndexError(
                f"rows {top}..{bottom} and columns {left}..{right} are not in "
                f"an image of {self.height} x {self.width} pixels"
            )
        image = np.zeros((bottom - top, right - left, 3), np.uint8)
        void: npt.NDArray[np.bool_] | None = None
        damaged: list[Box] = []
        rows, columns = self._chunks.chunk
        for row in range(top // rows, -(-bottom // rows)):
            for column in range(left // columns, -(-right // columns)):
                box = self._find_box(row, column)
                part = Box(
                    max(box.top, top),
                    max(box.left, left),
                    min(box.bottom, bottom),
                    min(box.right, right),
                )
                inside = _to_slices(part, top, left)
                source = _to_slices(part, box.top, box.left)
                found = self._load(row, column)
                if found.image is None:
                    damaged.append(part)
                    continue
                image[inside] = found.image[source]
                if found.void is not None and found.void[source].any():
                    if void is None:
                        void = np.zeros(image.shape[:2], bool)
                    void[inside] = found.void[source]
        return Window(image, tuple(damaged), void)

    def _find_box(self, row: int, column: int) -> Box:
        rows, columns = self._chunks.chunk
        return Box(
            row * rows,
            column * columns,
            min((row + 1) * rows, self.height),
            min((column + 1) * columns, self.width),
        )

    def _load(self, row: int, column: int) -> _Chunk:
        """Returns a chunk, of the cache if it is there."""
        key = (row, column)
        with self._lock:
            found = self._cache.get(key)
            if found is not None:
                self._cache.move_to_end(key)
                return found
            found = self._convert(row, column)
            self._cache[key] = found
            self._used_bytes += found.size
            while self._used_bytes > self._cache_bytes and len(self._cache) > 1:
                _, oldest = self._cache.popitem(last=False)
                self._used_bytes -= oldest.size
            return found

    def _convert(self, row: int, column: int) -> _Chunk:
        value_range = self.value_range
        box = self._find_box(row, column)
        try:
            found = self._chunks.decode(box, self._distinct)
        except errors.DataError as error:
            self._note(row, column, str(error))
            return _Chunk(None, None)
        values = pixel_values.to_bytes(found.values, value_range)
        places = [self._distinct.index(number) for number in self.channels]
        if places != list(range(values.shape[-1])):
            values = values[..., places]
        void = None
        if found.is_valid is not None and not found.is_valid.all():
            void = ~found.is_valid
        if found.values.dtype.kind == "f":
            is_nan = np.isnan(found.values).all(axis=-1)
            if is_nan.any():
                void = is_nan if void is None else void | is_nan
        if void is not None:
            values = np.where(void[..., None], np.uint8(0), values)
        return _Chunk(np.ascontiguousarray(values), void)

    def _note(self, row: int, column: int, problem: str) -> None:
        """Notes a damaged chunk, the first time that it is met."""
        if (row, column) not in self._noted:
            self._noted.add((row, column))
            self.problems.append(problem)

    def close(self) -> None:
        """Closes the file and forgets the chunks."""
        with self._lock:
            self._cache.clear()
            self._used_bytes = 0
            self._chunks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()


def _to_slices(box: Box, top: int, left: int) -> tuple[slice, slice]:
    return (
        slice(box.top - top, box.bottom - top),
        slice(box.left - left, box.right - left),
    )
