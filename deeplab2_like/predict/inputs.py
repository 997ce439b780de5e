# SPDX-License-Identifier: Apache-2.0
"""What is to be predicted: files, folders, patterns, lists, records, videos."""

import dataclasses
import os
import pathlib
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence

from deeplab2_like import errors
from deeplab2_like.storage import (
    image_files,
    user_paths,
    volumes,
    zarr_folders,
)

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
    *image_files.LARGE_OUTPUT_ENDINGS,
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
    with_large: bool = False,
    warn: Callable[[str], None] = warnings.warn,
) -> Inputs:
    """Finds what the arguments of a program mean.

    Args:
        arguments: Image files; folders, which are searched recursively for
            images; TFRecord files (`.tfrecord`, or `-00000-of-00010` at the
            end of the name); video files (`VIDEO_SUFFIXES`); and patterns of
            these, see `user_paths.find_files`.
        with_stacks: Whether frames are linked: TIFF files with several pages,
            and folders that end in `.zarr`, also in folders, are stacks then,
            and TFRecord files are refused.
        with_large: Whether images may be larger than memory: folders that end
            in `.zarr`, also in folders, are images then.
        warn: See `image_files.find_images`.

    Raises:
        ConfigError: A path cannot be used, see `user_paths.expand`.
        InstallError: A package that reads stacks is not installed.
        DataError: A file does not exist, a pattern matches nothing, a folder
            contains no image, or a Zarr folder or TFRecord file does not go
            with `with_stacks` and `with_large`.
    """
    records: dict[str, str] = {}
    others: list[str] = []
    folders: dict[str, pathlib.PurePath] = {}
    takes_zarr = with_stacks or with_large
    for argument in arguments:
        for path in _expand(user_paths.expand(argument, "The image ")):
            if is_record_file(path) and os.path.isfile(path):
                _refuse_records(path, with_stacks)
                records.setdefault(os.path.abspath(path), path)
            elif zarr_folders.is_zarr(path):
                _require_zarr(path, takes_zarr)
                absolute = os.path.abspath(path)
                folders.setdefault(
                    absolute, pathlib.PurePath(os.path.basename(absolute))
                )
            else:
                nested = _list_zarr(path) if takes_zarr else {}
                folders |= {k: v for k, v in nested.items() if k not in folders}
                if not nested or image_files.holds_images(path):
                    others.append(path)
    is_all = not others and (records or folders)
    files = [] if is_all else _find_files(others, takes_zarr, warn)
    videos = [file for file in files if is_video(file.path)]
    images = [file for file in files if not is_video(file.path)]
    stacks = _name_folders(folders, files)
    if with_large and not with_stacks:
        return Inputs([*images, *stacks], list(records.values()), videos)
    if with_stacks:
        pages = [file for file in images if volumes.is_stack(file.path)]
        images = [file for file in images if file not in pages]
        stacks = [*pages, *stacks]
    return Inputs(images, list(records.values()), videos, stacks)


def _list_zarr(folder: str) -> dict[str, pathlib.PurePath]:
    """Lists the Zarr folders in a folder: absolute and relative path."""
    return {
        os.path.abspath(path): path.relative_to(folder)
        for path in zarr_folders.find_below(folder)
        if not path.name.endswith(_OUTPUT_ENDINGS)
    }


def _require_zarr(path: str, takes_zarr: bool) -> None:
    if not takes_zarr:
        raise errors.DataError(
            f"{path} is a Zarr folder. Give --link to predict it as a stack of "
            "slices, or --tile as an image."
        )


def _refuse_records(path: str, with_stacks: bool) -> None:
    if with_stacks:
        raise errors.DataError(
            f"{path} is a TFRecord file, whose images --link does not link. "
            "Give the images of each sequence in a folder, or leave out --link."
        )


def _name_folders(
    paths: Mapping[str, pathlib.PurePath],
    files: Sequence[image_files.ImageFile],
) -> list[image_files.ImageFile]:
    """Returns Zarr folders, with names that files do not have.

    Args:
        paths: Relative path of each by its absolute path.
        files: The files.
    """
    names = image_files.name_uniquely(
        [*(file.relative_path for file in files), *paths.values()]
    )
    return [
        image_files.ImageFile(pathlib.Path(path), relative.as_posix(), name)
        for (path, relative), name in zip(
            paths.items(), names[len(files) :], strict=True
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
    paths: Sequence[str], takes_zarr: bool, warn: Callable[[str], None]
) -> list[image_files.ImageFile]:
    """Finds files and those of folders; names what else is in folders."""
    unread = [
        (path, os.path.join(path, name))
        for path in paths
        if os.path.isdir(path)
        for name in _list_unread(path, takes_zarr)
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


def _list_unread(folder: str, takes_zarr: bool) -> Iterator[str]:
    """Yields the inputs that lie directly in a folder and are not found."""
    for name in sorted(os.listdir(folder)):
        is_other = is_video(name) or is_record_file(name)
        if not takes_zarr:
            is_other |= zarr_folders.is_zarr(os.path.join(folder, name))
        if is_other and not name.endswith(_OUTPUT_ENDINGS):
            yield name
