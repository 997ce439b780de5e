# SPDX-License-Identifier: Apache-2.0
"""Finds image files in folders, names them and loads them."""

import dataclasses
import os
import pathlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.storage import any_files, image_decoding, zarr_folders

# Outputs of programs of this package, which are not found as images.
OUTPUT_ENDINGS = (".panoptic.png", ".overlay.png")
LARGE_OUTPUT_ENDINGS = (".labels.tif", ".overlay.tif")
OUTPUT_FOLDERS = ("raw_semantic", "raw_panoptic")
_MAX_NAMED = 5


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """An image file to read.

    Attributes:
        path: Path of the file.
        relative_path: Path below the folder that was searched, with "/"; the
            file name when the file itself was given. Where two files would
            have the same, the path of each below the folder of all inputs.
        name: Name for outputs: `relative_path` without extension, with a
            number where that is not unique.
    """

    path: pathlib.Path
    relative_path: str
    name: str


def find_images(
    inputs: Sequence[str | os.PathLike[str]],
    *,
    warn: Callable[[str], None] = warnings.warn,
) -> list[ImageFile]:
    """Finds the images in files and folders.

    Args:
        inputs: Files of any extension, and folders, which are searched
            recursively for the extensions `image_decoding.SUFFIXES`.
        warn: Function that is called with a sentence about the files of
            folders that are passed over, if any.

    Returns:
        The files in the order of `inputs`, those of a folder sorted by name,
        each file once.

    Raises:
        DataError: An input does not exist, or a folder contains no image.
    """
    missing = [str(entry) for entry in inputs if not os.path.exists(entry)]
    if missing:
        more = f" and {len(missing) - 1} more" * (len(missing) > 1)
        verb = "do" if len(missing) > 1 else "does"
        raise errors.DataError(
            f"{missing[0]}{more} {verb} not exist. Give image files or folders "
            "with images."
        )
    found: dict[str, tuple[pathlib.Path, pathlib.PurePath]] = {}
    passed_over: list[str] = []
    for entry in map(pathlib.Path, inputs):
        files = [entry]
        if entry.is_dir():
            files, others = _search(entry)
            passed_over += others
        root = entry if entry.is_dir() else entry.parent
        for file in files:
            key = os.path.abspath(file)
            found.setdefault(key, (file, file.relative_to(root)))
    if passed_over:
        warn(_describe_passed_over(passed_over))
    relatives = _keep_apart({key: name for key, (_, name) in found.items()})
    return [
        ImageFile(path, relative.as_posix(), name)
        for (path, _), relative, name in zip(
            found.values(), relatives, name_uniquely(relatives), strict=True
        )
    ]


def _search(folder: pathlib.Path) -> tuple[list[pathlib.Path], list[str]]:
    """Returns the images of a folder and the names of the other files."""
    known = [s for s in image_decoding.SUFFIXES if image_decoding.can_read(s)]
    images: list[pathlib.Path] = []
    others: list[str] = []
    for file in sorted(_walk(folder)):
        relative = file.relative_to(folder)
        if (
            file.name.endswith((*OUTPUT_ENDINGS, *LARGE_OUTPUT_ENDINGS))
            or file.name.startswith(".")
            or {*OUTPUT_FOLDERS}.intersection(relative.parts)
        ):
            continue
        if file.suffix.lower() in known:
            images.append(file)
        else:
            others.append(relative.as_posix())
    if not images:
        more = f" {_describe_passed_over(others)}" if others else ""
        raise errors.DataError(
            f"The folder {folder} holds no image. Looked for are files that "
            f"end in {', '.join(known)}, also in its folders.{more}"
        )
    return images, others


def _walk(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields the files in a folder; Zarr folders are each one image."""
    for parent, names, files in os.walk(folder):
        names[:] = [
            name
            for name in names
            if not zarr_folders.is_zarr(os.path.join(parent, name))
        ]
        for name in files:
            file = pathlib.Path(parent, name)
            if file.is_file():
                yield file


def holds_images(folder: str | os.PathLike[str]) -> bool:
    """Returns whether `find_images` would find an image in a folder."""
    try:
        return bool(_search(pathlib.Path(folder))[0])
    except errors.DataError:
        return False


def _describe_passed_over(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MAX_NAMED])
    if len(names) > _MAX_NAMED:
        shown += f" and {len(names) - _MAX_NAMED} more"
    count = f"{len(names)} files were" if len(names) > 1 else "1 file was"
    text = f"{count} passed over, of no kind that is read here: {shown}."
    endings = {pathlib.PurePath(name).suffix.lower() for name in names}
    return " ".join([text, *image_decoding.list_fixes(endings)])


def _keep_apart(
    relative_paths: dict[str, pathlib.PurePath],
) -> list[pathlib.PurePath]:
    """Returns paths that differ, with more folders where they are equal.

    Args:
        relative_paths: Path below its input of each file, by absolute path.
    """
    names = list(relative_paths.values())
    if len({*names}) == len(names):
        return names
    folders = [os.path.dirname(path) for path in relative_paths]
    try:
        root = os.path.commonpath(folders)
    except ValueError:  # On several drives.
        return names
    return [
        pathlib.PurePath(os.path.relpath(path, root)) for path in relative_paths
    ]


def name_uniquely(paths: Iterable[str | pathlib.PurePath]) -> list[str]:
    """Returns names for the outputs of images.

    Args:
        paths: Relative paths of the images.

    Returns:
        The paths without extension, with "/", and with a number where they
        are equal; capital letters do not count, as on some disks.
    """
    names: list[str] = []
    used: set[str] = set()
    for path in map(pathlib.PurePath, paths):
        stem = name = path.with_suffix("").as_posix()
        number = 2
        while name.casefold() in used:
            name = f"{stem}-{number}"
            number += 1
        used.add(name.casefold())
        names.append(name)
    return names


def load_image(
    path: str | os.PathLike[str],
    max_pixels: int | None = None,
    *,
    upright: bool = True,
    as_in_training: bool = True,
    warn: Callable[[str], None] = warnings.warn,
) -> npt.NDArray[np.uint8]:
    """Reads an image file.

    Args:
        path: Path of the file.
        max_pixels: Most pixels of an image; larger ones are refused before
            they are decoded. None: as many as Pillow allows.
        upright: Whether the EXIF orientation is applied.
        as_in_training: See `image_decoding.EncodedImage.decode`.
        warn: Function that is called with a sentence when the file contains
            several pictures, of which the first is read.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        DataError: The file is missing, damaged, too large, not an image, or
            has more than 8 bits a channel.
    """
    encoded = image_decoding.open_image(
        read_file(path), str(path), max_pixels=max_pixels
    )
    if encoded.note:
        warn(encoded.note)
    return encoded.decode(upright=upright, as_in_training=as_in_training)


def require_readable(files: Sequence[ImageFile], max_pixels: int) -> None:
    """Checks that one of several files begins as an image does.

    Args:
        files: The files, at least one.
        max_pixels: See `load_image`.

    Raises:
        DataError: None does; it describes the first file.
    """
    first: errors.DataError | None = None
    for file in files:
        try:
            image_decoding.open_image(
                read_file(file.path), str(file.path), max_pixels=max_pixels
            )
            return
        except errors.DataError as error:
            first = first or error
    if first is not None:
        raise first


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Reads the content of an image file, without decoding it.

    Raises:
        DataError: There is no file of this path, or it may not be read.
    """
    try:
        return any_files.read_bytes(path)
    except IsADirectoryError:
        raise errors.DataError(
            f"{path} is a folder. Give an image file."
        ) from None
    except FileNotFoundError:
        raise errors.DataError(
            f"{path} does not exist. Give an image file."
        ) from None
    except OSError as error:
        raise errors.DataError(
            f"{path} cannot be read ({error.strerror}). Check the file."
        ) from error
