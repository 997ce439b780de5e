# SPDX-License-Identifier: Apache-2.0
"""Bytes of a file that are read in order, never more than there are."""

import struct
from typing import Any, BinaryIO

from deeplab2_like import errors
from deeplab2_like.checkpoints.foreign import sentences


class Stream:
    """The bytes of a file or record from its current position on.

    Attributes:
        where: Path of the file, for errors.
        left: Number of bytes that have not been read.
    """

    def __init__(self, file: BinaryIO, size: int, where: str):
        """Starts at the position of a file.

        Args:
            file: File, open for reading.
            size: Number of bytes from its position to its end.
            where: Path of the file.
        """
        self._file = file
        self.left = size
        self.where = where

    def read(self, count: int) -> bytes:
        """Reads bytes; raises `CheckpointError` if there are fewer."""
        self._take(count)
        data = self._file.read(count)
        if len(data) != count:
            raise self._end(count - len(data))
        return data

    def read_line(self, limit: int) -> bytes:
        """Reads up to the end of a line, which is left out."""
        line = self._file.readline(min(limit, self.left))
        self._take(len(line))
        if not line.endswith(b"\n"):
            raise sentences.damaged(self.where, "a line of its pickle is open")
        return line[:-1]

    def read_number(self, form: str) -> Any:
        """Reads a number in a format of `struct`."""
        return struct.unpack(form, self.read(struct.calcsize(form)))[0]

    def skip(self, count: int) -> int:
        """Skips bytes, and returns the position of the first in the file."""
        self._take(count)
        position = self._file.tell()
        self._file.seek(position + count)
        return position

    def _take(self, count: int) -> None:
        if count > self.left:
            raise self._end(count - self.left)
        if count < 0:
            raise sentences.damaged(self.where, "it has a length below 0")
        self.left -= count

    def _end(self, missing: int) -> errors.CheckpointError:
        return sentences.damaged(
            self.where, f"it ends {missing} bytes too early"
        )
