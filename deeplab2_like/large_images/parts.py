# SPDX-License-Identifier: Apache-2.0
"""Parts of the tiles of an image, which several programs predict at once.

Each part has a folder of work files of its own, beside that of the image:
`NAME.2of4`. When all are done, their tiles are moved to the folder of the
image, where whoever predicts the whole image finds them.
"""

import dataclasses
import json
import os
import pathlib
import re
from typing import Any, Self

from deeplab2_like import errors
from deeplab2_like.large_images import work_folder

_FORM = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")
_NAME = re.compile(r"\.[0-9]+of[0-9]+")
_LAST = (work_folder.HEADS_ENDING, work_folder.TABLE_ENDING)


@dataclasses.dataclass(frozen=True)
class Part:
    """Every `count`-th tile, from the `number`-th on.

    Attributes:
        number: Number of the part, 1..`count`.
        count: Number of parts.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads the value of the flag --part, such as "2/4".

        Raises:
            ConfigError: The value is not allowed.
        """
        match = _FORM.fullmatch(text)
        number, count = map(int, match.groups()) if match else (0, 0)
        if not 1 <= number <= count:
            raise errors.ConfigError(
                f"--part={text} must be K/N, the K-th of N parts with K of "
                "1..N, such as --part=1/4."
            )
        return cls(number, count)

    def name_folder(self, work: str | os.PathLike[str]) -> pathlib.Path:
        """Names the folder of this part.

        Args:
            work: Folder of the work files of the image.
        """
        path = pathlib.Path(work)
        return path.with_name(f"{path.name}.{self.number}of{self.count}")

    def tiles(self, num_tiles: int) -> range:
        """Returns the numbers of the tiles in this part."""
        return range(self.number - 1, num_tiles, self.count)


WHOLE = Part(1, 1)


def find_folders(work: str | os.PathLike[str]) -> list[pathlib.Path]:
    """Finds the folders of the parts of an image.

    Args:
        work: Folder of the work files of the image.
    """
    path = pathlib.Path(work)
    if not path.parent.is_dir():
        return []
    return sorted(
        other
        for other in path.parent.iterdir()
        if other.name.startswith(path.name)
        and _NAME.fullmatch(other.name.removeprefix(path.name))
        and other.is_dir()
    )


def adopt(folder: work_folder.WorkFolder, path: pathlib.Path) -> None:
    """Moves the tiles of a part to the work files of its image.

    Tiles that are missing in the part are missing then, too.

    Args:
        folder: The work files of the image.
        path: Folder of the part, which is deleted.

    Raises:
        ConfigError: Another program still writes the part.
        DataError: The part is of another model, image or options, or its tiles
            have another overlap.
    """
    lock = work_folder.reserve(path)
    if lock is None:
        raise errors.ConfigError(
            f"Another program still predicts the part in {path}. Wait for it."
        )
    plan, notes = work_folder.read_plan(path), work_folder.read_notes(path)
    if plan is not None:
        _require_same(folder, path, plan, notes)
        for name, value in notes.items():
            folder.note_once(name, value)
        files = sorted((path / work_folder.TILES).iterdir())
        for file in sorted(files, key=lambda file: file.name.endswith(_LAST)):
            if not file.name.endswith(".partial"):
                os.replace(file, folder.path / work_folder.TILES / file.name)
    work_folder.clear(path)


def _require_same(
    folder: work_folder.WorkFolder,
    path: pathlib.Path,
    plan: str,
    notes: dict[str, Any],
) -> None:
    if plan != work_folder.read_plan(folder.path):
        other, own = json.loads(plan), folder.plan
        differ = [key for key in own if own[key] != other.get(key)]
        raise errors.DataError(
            f"{path} is a part of another prediction: {', '.join(differ)} "
            "differ. Delete it, or give the options with which it was made."
        )
    for name, value in notes.items():
        if folder.recall(name) not in (None, value):
            raise errors.DataError(
                f"{path} has the {name} {value}, the other parts have "
                f"{folder.recall(name)}. Delete the folders of the parts, and "
                f"give all of them the same --{name}."
                if name == "overlap"
                else f"{path} has other {name} than the other parts. Delete it."
            )
