# SPDX-License-Identifier: Apache-2.0
"""A file whose decoded chunks are kept for the next windows."""

from collections.abc import Callable
from typing import Generic, Self, TypeVar

from deeplab2_like.rasters.chunk_cache import ChunkCache, Sized
from deeplab2_like.rasters.chunks import Chunks
from deeplab2_like.rasters.source import Box

T = TypeVar("T", bound=Sized)


class Raster(Generic[T]):
    """An image or a label map that is read in windows.

    Attributes:
        path: Path of the file.
        height: Rows of pixels.
        width: Columns of pixels.
    """

    def __init__(
        self, chunks: Chunks, decode: Callable[[Box], T], cache_bytes: int
    ):
        """Decodes nothing.

        Args:
            chunks: The file, which is closed with this.
            decode: See `ChunkCache`.
            cache_bytes: Most bytes of decoded chunks, beside one.

        Raises:
            DataError: See `Chunks.check`.
        """
        chunks.check()
        self.path = chunks.path
        self.height, self.width = chunks.height, chunks.width
        self._chunks = chunks
        self._cache: ChunkCache[T] = ChunkCache(
            (self.height, self.width), chunks.chunk, decode, cache_bytes
        )

    @property
    def problems(self) -> list[str]:
        """A sentence for each damaged chunk that was met so far."""
        return self._cache.problems

    def close(self) -> None:
        """Closes the file and forgets the chunks."""
        self._cache.clear()
        self._chunks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()
