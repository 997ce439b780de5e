# SPDX-License-Identifier: Apache-2.0
"""The work files of a large image: what is done is there, and whole.

Each step of the work (a tile, a band) writes files of its own, whose last one
appears whole or not at all; it is the note that the step is done. So a
prediction that was killed anywhere goes on with the next step, and several
kills give the same bytes as none. `plan.json` says what the work is for: the
files of other work in the same folder are deleted, unless another program
writes them.

    .work.lock          which program that is; empty
    plan.json           what the work is for
    notes.json          what was decided on the way, such as the overlap
    tiles/000012.heads  head outputs of a tile, see `HeadShape`
    tiles/000012.json   where the image is damaged there, if it is
    tiles/000012.void   bits of pixels without a value, if there are some
    bands/...           see `votes`
    centers.npz         see `peaks`
    segments.npz        the table; when it is there, all is done
"""

import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.large_images.source import Box
from deeplab2_like.storage import file_locks, json_files, whole_files

_LOCK = ".work.lock"
_PLAN, _NOTES = "plan.json", "notes.json"
# Some of what each plan says.
_PLAN_KEYS = {"format", "version", "model", "image"}
TILES, BANDS = "tiles", "bands"
# Endings of the files that note that their tile is done.
HEADS_ENDING, TABLE_ENDING = ".heads", ".parts.npz"


@dataclasses.dataclass(frozen=True)
class HeadShape:
    """The head outputs of a tile, as they lie in its file.

    One map after the other, each float32 in raster order with its channels
    last: float16 would make equal values of different ones, so that a peak of
    the heatmap became several, and round offsets of large objects to pixels.

    Attributes:
        height: h, rows of each map.
        width: w, columns of each map.
        channels: Number of channels of each map, by its name.
    """

    height: int
    width: int
    channels: Mapping[str, int]

    @classmethod
    def of(cls, maps: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Returns the shape of head outputs, [h, w, channels] each."""
        height, width = next(iter(maps.values())).shape[:2]
        channels = {name: values.shape[2] for name, values in maps.items()}
        return cls(height, width, channels)

    def find(self, name: str) -> int:
        """Returns where a map begins in the file, in bytes."""
        before = 0
        for other, channels in self.channels.items():
            if other == name:
                return before
            before += channels * self.height * self.width * 4
        raise KeyError(name)


class WorkFolder:
    """The work files of one image.

    Attributes:
        path: The folder.
        plan: What the work is for.
    """

    def __init__(self, path: str | os.PathLike[str], plan: Mapping[str, Any]):
        """Opens or creates the folder; deletes files of other work.

        No other program can do so as long as this object exists.

        Args:
            path: The folder: of earlier work, empty or not there.
            plan: What the work is for, with "format", "version", "model" and
                "image".

        Raises:
            ConfigError: Another program has the folder.
            DataError: The folder holds something else.
        """
        self.path, self.plan = pathlib.Path(path), json_files.to_plain(plan)
        text = json_files.to_text(plan)
        file = self.path / _PLAN
        partial = whole_files.partial_path(file)
        names = {one.name for one in _list(self.path)}
        # A kill may have left a part of the plan.
        is_other = _PLAN not in names and names - {_LOCK, partial.name}
        if is_other or not _may_be_plan(file):
            raise errors.DataError(
                f"{self.path} holds files that are no work files of this "
                "program. Give a folder that is empty or does not exist."
            )
        self._lock = reserve(self.path)
        if self._lock is None:
            raise errors.ConfigError(
                f"Another program predicts an image with the work files in "
                f"{self.path}. Wait for it, or give another folder."
            )
        if file.is_file() and file.read_text(encoding="utf-8") != text:
            _delete_work(self.path)
        if not file.is_file():
            partial.unlink(missing_ok=True)
            whole_files.write_text(file, text)
        for folder in (TILES, BANDS):
            (self.path / folder).mkdir(exist_ok=True)
        self._notes = read_notes(self.path)

    def note(self, name: str, value: Any) -> None:
        """Stores a decision."""
        self._notes[name] = json_files.to_plain(value)
        json_files.write_json(self.path / _NOTES, self._notes)

    def note_once(self, name: str, value: Any) -> None:
        """Stores a decision unless there is one."""
        if name not in self._notes:
            self.note(name, value)

    def recall(self, name: str) -> Any:
        """Returns a decision; None where there is none."""
        return self._notes.get(name)

    def has_tile(self, index: int) -> bool:
        """Returns whether a tile is done."""
        return self._tile_file(index).is_file()

    def _tile_file(self, index: int) -> pathlib.Path:
        return self.path / TILES / f"{index:06d}{HEADS_ENDING}"

    def _damage_file(self, index: int) -> pathlib.Path:
        return self.path / TILES / f"{index:06d}.json"

    def _void_file(self, index: int) -> pathlib.Path:
        return self.path / TILES / f"{index:06d}.void"

    def write_tile(
        self, index: int, maps: Mapping[str, npt.NDArray[Any]]
    ) -> None:
        """Writes the head outputs of a tile.

        Args:
            index: Number of the tile.
            maps: [h, w, channels] each, in the order of `HeadShape.channels`.
        """
        with whole_files.open_whole(self._tile_file(index)) as file:
            for values in maps.values():
                file.write(np.ascontiguousarray(values, "<f4").data)

    def note_damage(
        self,
        index: int,
        damaged: Sequence[Box],
        void_hw: npt.NDArray[np.bool_] | None,
    ) -> None:
        """Stores, before a tile is done, which of its pixels do not count.

        Args:
            index: Number of the tile.
            damaged: Where the image is damaged.
            void_hw: bool [H, W], pixels without a value; None for none.
        """
        if void_hw is not None:
            with whole_files.open_whole(self._void_file(index)) as file:
                file.write(np.packbits(void_hw, axis=1).data)
        if damaged:
            json_files.write_json(self._damage_file(index), list(damaged))

    def read_damage(self, index: int) -> list[Box]:
        """Returns where the image is damaged in a tile that is done."""
        file = self._damage_file(index)
        if not file.is_file():
            return []
        return [Box(*b) for b in json.loads(file.read_text(encoding="utf-8"))]

    def has_void(self, index: int) -> bool:
        """Returns whether a tile that is done has pixels without a value."""
        return self._void_file(index).is_file()

    def read_void(
        self, index: int, width: int, top: int, bottom: int
    ) -> npt.NDArray[np.bool_]:
        """Returns pixels without a value of a tile: bool [rows, width].

        Args:
            index: Number of the tile.
            width: Columns of the part of the image that it shows.
            top: First row.
            bottom: Row behind the last.
        """
        per_row = -(-width // 8)
        bits = _read(
            self._void_file(index),
            "u1",
            (bottom - top) * per_row,
            top * per_row,
        )
        flags = np.unpackbits(bits.reshape(-1, per_row), axis=1, count=width)
        return flags.astype(bool)

    def read_tile(
        self, index: int, name: str, rows: tuple[int, int], shape: HeadShape
    ) -> npt.NDArray[np.float32]:
        """Reads rows of a map of a tile: float32 [rows, w, channels].

        Args:
            index: Number of the tile.
            name: Name of the map.
            rows: The first row, and the one behind the last.
            shape: The maps of a tile.
        """
        channels = shape.channels[name]
        per_row = shape.width * channels
        values = _read(
            self._tile_file(index),
            "<f4",
            (rows[1] - rows[0]) * per_row,
            shape.find(name) + rows[0] * per_row * 4,
        )
        return values.reshape(-1, shape.width, channels)

    def has(self, name: str) -> bool:
        """Returns whether a file is there, which is whole then."""
        return (self.path / name).is_file()

    def write_array(self, name: str, values: npt.NDArray[Any]) -> None:
        """Writes the values of an array, in the order of memory."""
        with whole_files.open_whole(self.path / name) as file:
            file.write(np.ascontiguousarray(values).data)

    def read_array(
        self, name: str, dtype: str, count: int, start: int = 0
    ) -> npt.NDArray[Any]:
        """Reads values of a file by `write_array`.

        Args:
            name: Name of the file.
            dtype: Type of the values.
            count: Number of values.
            start: Values before them.
        """
        size = np.dtype(dtype).itemsize
        return _read(self.path / name, dtype, count, start * size)

    def write_table(
        self, name: str, columns: Mapping[str, npt.NDArray[Any]]
    ) -> None:
        """Writes arrays under their names."""
        with whole_files.open_whole(self.path / name) as file:
            np.savez(file, allow_pickle=False, **columns)

    def read_table(self, name: str) -> dict[str, npt.NDArray[Any]]:
        """Reads the arrays of a file by `write_table`."""
        with np.load(self.path / name, allow_pickle=False) as table:
            return dict(table)

    def delete(self, *patterns: str) -> None:
        """Deletes files, by patterns of their names."""
        for pattern in patterns:
            for file in self.path.glob(pattern):
                file.unlink(missing_ok=True)


def _read(
    path: pathlib.Path, dtype: str, count: int, start: int
) -> npt.NDArray[Any]:
    """Reads `count` values from byte `start` on."""
    # Files that are mapped to memory would count as memory in use.
    values = np.fromfile(path, dtype, count, offset=start)
    if len(values) < count:
        raise errors.DataError(
            f"{path} is too short: it was changed from outside. Delete its "
            "folder, and the image is predicted again."
        )
    return values


def read_plan(path: str | os.PathLike[str]) -> str | None:
    """Returns the text of what the work in a folder is for; None for none."""
    file = pathlib.Path(path, _PLAN)
    return file.read_text(encoding="utf-8") if file.is_file() else None


def read_notes(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the decisions in a folder by their names."""
    file = pathlib.Path(path, _NOTES)
    if not file.is_file():
        return {}
    notes: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return notes


def reserve(path: str | os.PathLike[str]) -> file_locks.FileLock | None:
    """Keeps other programs from a folder, as long as the result exists.

    Args:
        path: The folder of a `WorkFolder`, before there is one or besides.

    Returns:
        None where another program has it.
    """
    file = pathlib.Path(path, _LOCK)
    lock = file_locks.find_own(file)
    if lock is None:
        lock = file_locks.FileLock(file)
        if not lock.acquire():
            return None
    return lock


def clear(path: str | os.PathLike[str]) -> bool:
    """Deletes a folder of work files, if it is one.

    Returns:
        False where another program writes there; then nothing is deleted.
    """
    folder = pathlib.Path(path)
    names = {file.name for file in _list(folder)}
    if names.isdisjoint({_PLAN, _LOCK}) or not _may_be_plan(folder / _PLAN):
        return True
    lock = reserve(folder)
    if lock is None:
        return False
    _delete_work(folder)
    (folder / _LOCK).unlink(missing_ok=True)
    if not _list(folder):
        folder.rmdir()
    return True


def _may_be_plan(file: pathlib.Path) -> bool:
    """Returns whether a file is none of a user that only has the same name."""
    if not file.is_file():
        return True
    try:
        # A computer that lost its power may leave an empty file, or zeros.
        text = file.read_text(encoding="utf-8").strip("\0")
        return not text or {*json.loads(text)} >= _PLAN_KEYS
    except (TypeError, ValueError):
        return False


def _list(folder: pathlib.Path) -> list[pathlib.Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _delete_work(folder: pathlib.Path) -> None:
    for name in (TILES, BANDS):
        shutil.rmtree(folder / name, ignore_errors=True)
    for pattern in ("*.npz", ".*.partial", _NOTES, _PLAN):
        for file in folder.glob(pattern):
            file.unlink(missing_ok=True)
