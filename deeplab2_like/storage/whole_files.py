# SPDX-License-Identifier: Apache-2.0
"""Writes files completely or not at all, and detects full disks.

`open_whole` and `write_text` write one file, `WholeFiles` several that belong
together, `new_folder` a folder. `is_disk_full` and `describe_full_disk` are
for code that catches the error of a write, Python's or TensorFlow's.
"""

import contextlib
import errno
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import IO, Any

from deeplab2_like.storage import any_files

_FULL = "No space left on device"


def partial_path(path: str | os.PathLike[str]) -> pathlib.Path:
    """Returns the path beside a file where it is written until complete."""
    path = pathlib.Path(path)
    return path.with_name(f".{path.name}.partial")


@contextlib.contextmanager
def open_whole(
    path: str | os.PathLike[str], mode: str = "wb"
) -> Iterator[IO[Any]]:
    """Opens a file for writing, which appears when the block ends.

    If the block fails, nothing appears and an earlier file remains.

    Args:
        path: Path or address of the file, in an existing folder.
        mode: "wb", or "w" for text in UTF-8.

    Yields:
        The open file.
    """
    if any_files.is_remote(path):
        with any_files.open_remote(path, mode) as file:
            yield file
        return
    partial = partial_path(path)
    encoding = None if "b" in mode else "utf-8"
    try:
        with partial.open(mode, encoding=encoding) as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file in UTF-8, completely or not at all."""
    with open_whole(path, "w") as file:
        file.write(text)


class WholeFiles:
    """Files that appear together, when a block ends without an error.

    with WholeFiles(paths) as partials:
        ...  # Write to each of `partials`.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        replaced: Sequence[str | os.PathLike[str]] = (),
    ):
        """Stores the paths; writes nothing.

        Args:
            paths: Paths of the files, all in existing folders.
            replaced: Paths of older files that are deleted when the new ones
                are complete, just before these appear.
        """
        self._paths = [pathlib.Path(path) for path in paths]
        self._replaced = [pathlib.Path(path) for path in replaced]
        self._partials = [partial_path(path) for path in self._paths]

    def __enter__(self) -> list[pathlib.Path]:
        """Returns the path to write each file to."""
        return self._partials

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                for path in self._replaced:
                    path.unlink(missing_ok=True)
                for partial, path in zip(
                    self._partials, self._paths, strict=True
                ):
                    partial.replace(path)
        finally:
            for partial in self._partials:
                partial.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Creates a folder that appears, or replaces one, when the block ends.

    If the block fails, nothing appears and an earlier folder remains.

    Args:
        path: Path of the folder; folders above it are created.

    Yields:
        The folder to write the content to.
    """
    target = pathlib.Path(path)
    if target.name in ("", ".."):  # "." and the like have no name to extend.
        target = pathlib.Path(os.path.abspath(path))
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    earlier = target.with_name(f".{target.name}.replaced-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        yield partial
        if target.exists():
            target.rename(earlier)
        try:
            partial.rename(target)
        except OSError:
            if earlier.exists():
                earlier.rename(target)
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(earlier, ignore_errors=True)


def is_disk_full(error: BaseException) -> bool:
    """Returns whether a write failed for lack of space.

    Args:
        error: An `OSError` or an exception of TensorFlow.
    """
    if isinstance(error, OSError):
        return error.errno == errno.ENOSPC
    return _FULL in str(error)


def describe_full_disk(path: str | os.PathLike[str]) -> str:
    """Returns a sentence that states that a disk is full.

    Args:
        path: A file or folder on the disk; it or a folder above it exists.
    """
    if any_files.is_remote(path):
        return f"There is no space left for {path}."
    folder = pathlib.Path(path)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    return f"The disk of {path} is full ({free} bytes free)."
