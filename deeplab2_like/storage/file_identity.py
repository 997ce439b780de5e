# SPDX-License-Identifier: Apache-2.0
"""Which file something was made of, and which version of it."""

import dataclasses
import os
from typing import Self


@dataclasses.dataclass(frozen=True)
class Source:
    """Where an image comes from, and which version of it.

    Attributes:
        path: Absolute path of the file.
        size: Bytes of the file; -1 where it cannot be read.
        changed: Time of the last change in nanoseconds.
        part: Number of the record or frame in the file; None for an image.
    """

    path: str
    size: int
    changed: int
    part: int | None = None

    @classmethod
    def of_file(cls, path: str | os.PathLike[str]) -> Self:
        """Describes a file; one that cannot be read too."""
        absolute = os.path.abspath(path)
        try:
            found = os.stat(absolute)
        except OSError:
            return cls(absolute, -1, 0)
        return cls(absolute, found.st_size, found.st_mtime_ns)

    def of_part(self, number: int) -> "Source":
        """Describes a record or frame of this file."""
        return dataclasses.replace(self, part=number)
