# SPDX-License-Identifier: Apache-2.0
"""Windows of an image that is stored in chunks, as RGB of 8 bits."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.rasters import channels as channels_lib
from deeplab2_like.rasters import raster
from deeplab2_like.rasters.chunks import Chunks
from deeplab2_like.rasters.source import (
    Box,
    LargeImage,
    Place,
    Reading,
    Window,
)
from deeplab2_like.storage import file_identity, pixel_values

CACHE_BYTES = 1 << 28


class _Chunk(NamedTuple):
    """A chunk: uint8 [h, w, 3], and bool [h, w], pixels without a value."""

    image: npt.NDArray[np.uint8]
    void: npt.NDArray[np.bool_] | None

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self.image.nbytes + (0 if self.void is None else self.void.size)


class ChunkedImage(raster.Raster[_Chunk], LargeImage):
    """A large image; the `LargeImage` of all kinds of files.

    In memory are the decoded chunks that were used last, of at most
    `cache_bytes` (and one chunk), as RGB of 8 bits. Several threads may read.

    Attributes:
        channels: The channels of the file, from 0, that are red, green, blue.
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
        super().__init__(chunks, self._convert, cache_bytes)
        self.channels = channels_lib.choose(
            chunks.path, chunks.channels, channels, chunks.color_channels
        )
        self._log = log
        self._range = value_range
        self._needs_range = value_range is None and pixel_values.needs_range(
            chunks.dtype
        )
        self._distinct = sorted({*self.channels})
        self._range_lock = threading.Lock()

    @property
    def place(self) -> Place:
        """Where the image lies, as far as the file says."""
        return Place(self._chunks.georeference, self._chunks.scale)

    @property
    def reading(self) -> Reading:
        """What the file is read as; see `value_range`."""
        return Reading(self.channels, self.value_range)

    def describe(self) -> file_identity.Source:
        """Returns the identity of the file or folder."""
        return file_identity.describe(self.path)

    @property
    def value_range(self) -> pixel_values.Range | None:
        """(low, high), values that become 0 and 255; None: 8 bits as stored.

        The first time it may be found by reading the whole image, chunk by
        chunk; damaged chunks do not count.
        """
        with self._range_lock:
            if self._needs_range:
                found = pixel_values.find_range(self._read_values())
                self._range, self._needs_range = found, False
                self._log(pixel_values.describe_range(self.path, found))
            return self._range

    def set_range(self, value_range: pixel_values.Range | None) -> None:
        """Sets a range that is known already; see `value_range`."""
        with self._range_lock:
            self._range, self._needs_range = value_range, False

    def _read_values(self) -> Iterator[npt.NDArray[Any]]:
        for box in self._cache.boxes():
            try:
                found = self._chunks.decode(box, self._distinct)
            except errors.DataError as error:
                self._cache.note(box, str(error))
                continue
            if found.is_valid is None:
                yield found.values
            else:
                yield found.values[found.is_valid]

    def read(self, top: int, left: int, bottom: int, right: int) -> Window:
        """Reads a part of the image; see `LargeImage.read`."""
        image = np.zeros((max(bottom - top, 0), max(right - left, 0), 3), "u1")
        void: npt.NDArray[np.bool_] | None = None
        damaged: list[Box] = []
        for piece in self._cache.pieces(top, left, bottom, right):
            if piece.chunk is None:
                damaged.append(piece.box)
                continue
            image[piece.inside] = piece.chunk.image[piece.source]
            if piece.chunk.void is None:
                continue
            part = piece.chunk.void[piece.source]
            if part.any():
                if void is None:
                    void = np.zeros(image.shape[:2], bool)
                void[piece.inside] = part
        return Window(image, tuple(damaged), void)

    def _convert(self, box: Box) -> _Chunk:
        value_range = self.value_range
        found = self._chunks.decode(box, self._distinct)
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
