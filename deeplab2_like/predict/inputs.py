# SPDX-License-Identifier: Apache-2.0
"""What is to be predicted: files, folders, patterns, lists, records, videos."""

import dataclasses
import os
import pathlib
import re
import warnings
from collections.abc import Callable, Iterator, Sequence

from deeplab2_like import errors
from deeplab2_like.storage import image_files, user_paths, volumes

VIDEO_SUFFIXES = (
    ".avi",
    ".m4v",
    ".mkv",
    ".mov",
    ".mp4",
    ".mpeg",
    ".mpg",
    ".mts",
    ".ts",
    ".webm",
    ".wmv",
)
VIDEO_OVERLAY_ENDING = ".overlay.mp4"
_OUTPUT_ENDINGS = (
    *image_files.OUTPUT_ENDINGS,
    VIDEO_OVERLAY_ENDING,
    f".labels{volumes.ZARR_SUFFIX}",
)
_RECORD_NAME = re.compile(r"\.tfrecords?($|[.-])|-\d{5}-of-\d{5}$")
_PATTERN_CHARACTERS = "*?["


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What is to be predicted, each file once.

    Attributes:
        images: Image files.
        records: Paths of TFRecord files.
        videos: Video files.
        stacks: Stacks of slices, TIFF files and Zarr folders. Images, videos
            and stacks have names of their own.
    """

    images: list[image_files.ImageFile]
    records: list[str]
    videos: list[image_files.ImageFile]
    stacks: list[image_files.ImageFile] = dataclasses.field(
        default_factory=list
    )


def find_inputs(
    arguments: Sequence[str | os.PathLike[str]],
    with_stacks: bool = False,
    *,
    warn: Callable[[str], None] = warnings.warn,
) -> Inputs:
    """Finds what the arguments of a program mean.

    Args:
        arguments: Image files; folders, which are searched recursively for
            images; TFRecord files (`.tfrecord`, or `-00000-of-00010` at the
            end of the name); video files (`VIDEO_SUFFIXES`); and patterns of
            these, see `user_paths.find_files`.
        with_stacks: Whether frames are linked: TIFF files with several pages,
            and folders that end in `.zarr`, are stacks then, and TFRecord
            files are refused.
        warn: See `image_files.find_images`.

    Raises:
        ConfigError: A path cannot be used, see `user_paths.expand`.
        InstallError: A package that reads stacks is not installed.
        DataError: A file does not exist, a pattern matches nothing, a folder
            contains no image, or a stack or TFRecord file does not go with
            `with_stacks`.
    """
    records: dict[str, str] = {}
    others: list[str] = []
    folders: dict[str, str] = {}
    for argument in arguments:
        for path in _expand(user_paths.expand(argument, "The image ")):
            if is_record_file(path) and os.path.isfile(path):
                _refuse_records(path, with_stacks)
                records.setdefault(os.path.abspath(path), path)
            elif is_zarr(path):
                _require_stacks(path, with_stacks)
                folders.setdefault(os.path.abspath(path), path)
            else:
                others.append(path)
    is_all = not others and (records or folders)
    files = [] if is_all else _find_files(others, warn)
    videos = [file for file in files if is_video(file.path)]
    images = [file for file in files if not is_video(file.path)]
    stacks = _name_folders(list(folders.values()), files)
    if with_stacks:
        pages = [file for file in images if volumes.is_stack(file.path)]
        images = [file for file in images if file not in pages]
        stacks = [*pages, *stacks]
    return Inputs(images, list(records.values()), videos, stacks)


def is_zarr(path: str | os.PathLike[str]) -> bool:
    """Returns whether a path is a folder that is named as Zarr arrays are."""
    suffix = pathlib.PurePath(path).suffix.lower()
    return suffix == volumes.ZARR_SUFFIX and os.path.isdir(path)


def _require_stacks(path: str, with_stacks: bool) -> None:
    if not with_stacks:
        raise errors.DataError(
            f"{path} is a stack of slices. Give --link to predict it as one."
        )


def _refuse_records(path: str, with_stacks: bool) -> None:
    if with_stacks:
        raise errors.DataError(
            f"{path} is a TFRecord file, whose images --link does not link. "
            "Give the images of each sequence in a folder, or leave out --link."
        )


def _name_folders(
    paths: Sequence[str], files: Sequence[image_files.ImageFile]
) -> list[image_files.ImageFile]:
    """Returns folders of stacks, with names that files do not have."""
    bases = [os.path.basename(os.path.abspath(path)) for path in paths]
    names = image_files.name_uniquely(
        [*(file.relative_path for file in files), *bases]
    )
    return [
        image_files.ImageFile(pathlib.Path(path), base, name)
        for path, base, name in zip(
            paths, bases, names[len(files) :], strict=True
        )
    ]


def load_list(path: str) -> list[str]:
    """Loads a list of files: a path in each line, as in the shell.

    Args:
        path: Path of a text file in UTF-8.

    Returns:
        The lines that are not blank.

    Raises:
        DataError: The file cannot be read, or has no path.
    """
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise errors.DataError(
            f"The list {path} cannot be read ({reason}). Give a text file with "
            "a path in each line."
        ) from error
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise errors.DataError(
            f"The list {path} is empty. Give a text file with a path in each "
            "line."
        )
    return lines


def is_video(path: str | os.PathLike[str]) -> bool:
    """Returns whether a path ends as those of videos do."""
    return pathlib.PurePath(path).suffix.lower() in VIDEO_SUFFIXES


def is_record_file(path: str | os.PathLike[str]) -> bool:
    """Returns whether a path is named as TFRecord files are."""
    return bool(_RECORD_NAME.search(pathlib.PurePath(path).name))


def _expand(path: str) -> list[str]:
    """Returns the paths that an argument means, of which some may not exist."""
    if user_paths.is_remote(path):
        raise errors.DataError(
            f"{path} is an address. deeplab2-predict reads local files; "
            "deeplab2-predict-beam reads addresses."
        )
    is_pattern = any(character in path for character in _PATTERN_CHARACTERS)
    if os.path.lexists(path) or not is_pattern:
        return [path]
    found = [
        match
        for match in user_paths.find_files(path)
        if not match.endswith(_OUTPUT_ENDINGS)
    ]
    if not found:
        raise errors.DataError(
            f"The pattern {path!r} matches no file. Correct it, or name files "
            "or folders."
        )
    return found


def _find_files(
    paths: Sequence[str], warn: Callable[[str], None]
) -> list[image_files.ImageFile]:
    """Finds files and those of folders; names what else is in folders."""
    unread = [
        (path, os.path.join(path, name))
        for path in paths
        if os.path.isdir(path)
        for name in _list_unread(path)
    ]
    hint = ""
    if unread:
        folder, first = unread[0]
        ending = os.path.splitext(first)[1]
        hint = (
            f"{folder} also holds videos, TFRecords or Zarr folders, which are "
            f"predicted when they are named, for example '{folder}/*{ending}'."
        )
    try:
        files = image_files.find_images(paths, warn=warn)
    except errors.DataError as error:
        if hint:
            raise errors.DataError(f"{error} {hint}") from error
        raise
    if hint:
        warn(hint)
    return files


def _list_unread(folder: str) -> Iterator[str]:
    """Yields the videos, records and stacks that lie directly in a folder."""
    for name in sorted(os.listdir(folder)):
        is_other = is_video(name) or is_record_file(name)
        is_other |= is_zarr(os.path.join(folder, name))
        if is_other and not name.endswith(_OUTPUT_ENDINGS):
            yield name
