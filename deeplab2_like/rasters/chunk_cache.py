# SPDX-License-Identifier: Apache-2.0
"""Chunks of a file that were decoded last."""

import collections
import threading
from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, Protocol, TypeVar

from deeplab2_like import errors
from deeplab2_like.rasters.source import Box


class Sized(Protocol):
    """What is kept of a chunk."""

    @property
    def size(self) -> int:
        """Bytes in memory."""


T = TypeVar("T", bound=Sized)


class Piece(NamedTuple, Generic[T]):
    """The part of a chunk that lies in a window.

    Attributes:
        box: Where it lies in the image.
        inside: Its rows and columns in the window.
        source: Its rows and columns in the chunk.
        chunk: The chunk; None where it is damaged.
    """

    box: Box
    inside: tuple[slice, slice]
    source: tuple[slice, slice]
    chunk: T | None


class ChunkCache(Generic[T]):
    """Chunks, decoded when they are first needed; several threads may read.

    Attributes:
        problems: A sentence for each damaged chunk that was met so far.
    """

    def __init__(
        self,
        size: tuple[int, int],
        chunk: tuple[int, int],
        decode: Callable[[Box], T],
        limit: int,
    ):
        """Decodes nothing.

        Args:
            size: (height, width) of the image.
            chunk: (rows, columns) of a chunk.
            decode: Function that decodes the chunk of a box; raises
                `DataError` where it is damaged.
            limit: Most bytes that are kept, beside one chunk.
        """
        self._size, self._chunk = size, chunk
        self._decode, self._limit = decode, limit
        self._kept: collections.OrderedDict[Box, T] = collections.OrderedDict()
        self._used = 0
        self._damaged: set[Box] = set()
        self._lock = threading.Lock()
        self.problems: list[str] = []

    @property
    def sizes(self) -> list[int]:
        """Bytes of each chunk that is kept."""
        return [chunk.size for chunk in self._kept.values()]

    def boxes(self) -> Iterator[Box]:
        """Yields the boxes of all chunks, row by row."""
        rows, columns = self._chunk
        for row in range(-(-self._size[0] // rows)):
            for column in range(-(-self._size[1] // columns)):
                yield self._find_box(row, column)

    def pieces(
        self, top: int, left: int, bottom: int, right: int
    ) -> Iterator[Piece[T]]:
        """Yields the pieces of a window, which lies within the image.

        Raises:
            IndexError: It does not.
        """
        height, width = self._size
        if not (0 <= top < bottom <= height and 0 <= left < right <= width):
            raise IndexError(
                f"rows {top}..{bottom} and columns {left}..{right} are not in "
                f"an image of {height} x {width} pixels"
            )
        rows, columns = self._chunk
        for row in range(top // rows, -(-bottom // rows)):
            for column in range(left // columns, -(-right // columns)):
                box = self._find_box(row, column)
                part = Box(
                    max(box.top, top),
                    max(box.left, left),
                    min(box.bottom, bottom),
                    min(box.right, right),
                )
                yield Piece(
                    part,
                    _to_slices(part, top, left),
                    _to_slices(part, box.top, box.left),
                    self._load(box),
                )

    def _find_box(self, row: int, column: int) -> Box:
        rows, columns = self._chunk
        return Box(
            row * rows,
            column * columns,
            min((row + 1) * rows, self._size[0]),
            min((column + 1) * columns, self._size[1]),
        )

    def _load(self, box: Box) -> T | None:
        """Returns a chunk; None where it is damaged."""
        with self._lock:
            if box in self._damaged:
                return None
            found = self._kept.get(box)
            if found is not None:
                self._kept.move_to_end(box)
                return found
        try:
            # Two threads may decode a chunk at once, and do not wait for
            # those of other chunks.
            found = self._decode(box)
        except errors.DataError as error:
            self.note(box, str(error))
            return None
        with self._lock:
            if box not in self._kept:
                self._kept[box] = found
                self._used += found.size
            while self._used > self._limit and len(self._kept) > 1:
                _, oldest = self._kept.popitem(last=False)
                self._used -= oldest.size
        return found

    def note(self, box: Box, problem: str) -> None:
        """Notes that a chunk is damaged; once."""
        with self._lock:
            if box not in self._damaged:
                self._damaged.add(box)
                self.problems.append(problem)

    def clear(self) -> None:
        """Forgets all chunks."""
        with self._lock:
            self._kept.clear()
            self._used = 0


def _to_slices(box: Box, top: int, left: int) -> tuple[slice, slice]:
    return (
        slice(box.top - top, box.bottom - top),
        slice(box.left - left, box.right - left),
    )
