# SPDX-License-Identifier: Apache-2.0
"""Which file something was made of, and which version of it."""

import dataclasses
import os
from typing import Self

from deeplab2_like.storage import any_files


@dataclasses.dataclass(frozen=True)
class Source:
    """Where an image comes from, and which version of it.

    Attributes:
        path: Absolute path of the file or folder, or address of the file.
        size: Bytes of the file, of a folder those of all its files; -1 where
            it cannot be read.
        changed: Time of the last change in nanoseconds.
        part: Number of the record or frame in the file; None for an image.
    """

    path: str
    size: int
    changed: int
    part: int | None = None

    @property
    def version(self) -> str:
        """What changes with the content, wherever the file lies."""
        return f"{self.size} {self.changed}"

    @classmethod
    def of_file(cls, path: str | os.PathLike[str]) -> Self:
        """Describes a file; one that cannot be read too."""
        if any_files.is_remote(path):
            address = os.fspath(path)
            try:
                changed = round(any_files.changed_at(address) * 1e9)
                return cls(address, any_files.size(address), changed)
            except OSError:
                return cls(address, -1, 0)
        absolute = os.path.abspath(path)
        try:
            found = os.stat(absolute)
        except OSError:
            return cls(absolute, -1, 0)
        return cls(absolute, found.st_size, found.st_mtime_ns)

    def of_part(self, number: int) -> "Source":
        """Describes a record or frame of this file."""
        return dataclasses.replace(self, part=number)


def describe(path: str | os.PathLike[str]) -> Source:
    """Describes a file; of a folder, all of its files."""
    if not os.path.isdir(path):
        return Source.of_file(path)
    size = changed = 0
    for folder, _, names in os.walk(path):
        for name in names:
            found = Source.of_file(os.path.join(folder, name))
            size += max(found.size, 0)
            changed = max(changed, found.changed)
    return Source(os.path.abspath(path), size, changed)
