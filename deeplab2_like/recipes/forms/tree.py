# SPDX-License-Identifier: Apache-2.0
"""The files below a folder."""

import dataclasses
import os
import pathlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Self

_MAX_KINDS = 6


@dataclasses.dataclass(frozen=True)
class Tree:
    """The files below a folder, hidden ones left out.

    Attributes:
        root: The folder.
        files: Paths below it with "/", sorted.
    """

    root: pathlib.Path
    files: Sequence[str]
    _by_name: Mapping[str, Sequence[str]] = dataclasses.field(repr=False)

    @classmethod
    def look(cls, root: str | os.PathLike[str]) -> Self:
        """Lists the files of a folder and of all folders in it.

        Links to folders are followed, each folder is visited once.
        """
        root = pathlib.Path(root)
        files = []
        visited = set()
        for folder, inner, names in os.walk(root, followlinks=True):
            real = os.path.realpath(folder)
            if real in visited:
                inner.clear()
                continue
            visited.add(real)
            inner[:] = sorted(n for n in inner if not n.startswith("."))
            relative = os.path.relpath(folder, root)
            for name in names:
                if not name.startswith("."):
                    path = os.path.normpath(os.path.join(relative, name))
                    files.append(path.replace(os.sep, "/"))
        files.sort()
        by_name: dict[str, list[str]] = {}
        for path in files:
            by_name.setdefault(path.rsplit("/", 1)[-1], []).append(path)
        return cls(root, files, by_name)

    def list_by_ending(self, ending: str) -> list[str]:
        """Lists the paths that end so, in any case of letters."""
        return [path for path in self.files if path.lower().endswith(ending)]

    def find_folders(self, file_name: str) -> list[str]:
        """Lists the folders below which a path exists, "." for the root.

        Args:
            file_name: A path with "/", such as "aachen/1.png".
        """
        folders = []
        for path in self._by_name.get(file_name.rsplit("/", 1)[-1], ()):
            if path == file_name:
                folders.append(".")
            elif path.endswith(f"/{file_name}"):
                folders.append(path[: -len(file_name) - 1])
        return folders

    def describe(self) -> str:
        """Describes the files by their kinds: "40 .jpg, 1 .yaml"."""
        if not self.files:
            return "no file"
        kinds = Counter(
            pathlib.PurePosixPath(path).suffix.lower() or "without extension"
            for path in self.files
        )
        shown = [f"{n} {kind}" for kind, n in kinds.most_common(_MAX_KINDS)]
        rest = len(self.files) - sum(
            n for _, n in kinds.most_common(_MAX_KINDS)
        )
        shown += [f"{rest} others"] if rest else []
        return ", ".join(shown)
