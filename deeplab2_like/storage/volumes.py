# SPDX-License-Identifier: Apache-2.0
"""Reads stacks of slices, and writes label volumes: TIFF and Zarr, by slices.

Needs tifffile for TIFF and zarr for Zarr (extra `stacks`), which are imported
when a file is opened. One slice at a time is in memory.
"""

import abc
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.storage import (
    optional_packages,
    tiff_files,
    whole_files,
    zarr_folders,
)

TIFF_SUFFIXES = tiff_files.SUFFIXES
ZARR_SUFFIX = zarr_folders.SUFFIX
_EXTRA = "stacks"
# Larger files than this need BigTIFF, with room for the tags.
_BIG_TIFF = 2**32 - 2**25
_CHUNK = 1024


class Volume(abc.ABC):
    """A stack of slices of one size.

    Attributes:
        path: The file or folder.
        shape: (slices, height, width).
        dtype: Type of the values.
        channels: Values of a pixel: 1, or 3 for RGB.
    """

    path: str
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    channels: int

    @abc.abstractmethod
    def read(self, number: int) -> npt.NDArray[Any]:
        """Reads a slice: [H, W], or [H, W, 3].

        Raises:
            DataError: It is damaged.
            InstallError: The package for its compression is not installed.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    @abc.abstractmethod
    def close(self) -> None:
        """Closes the file."""

    def _set_shape(
        self, shape: tuple[int, ...], axes: str, has_colors: bool
    ) -> None:
        """Takes the dimensions of a stack; leading ones of 1 are dropped."""
        found = shape[:-1] if has_colors else shape
        while len(found) > 3 and found[0] == 1:
            found = found[1:]
        if len(found) == 2:
            found = (1, *found)
        is_legal = len(found) == 3 and 0 not in found
        if has_colors and shape[-1] not in (3, 4):
            is_legal = False
        if not is_legal:
            raise errors.DataError(
                f"{self.path} has the dimensions {list(shape)} ({axes}). A "
                "stack is [slices, height, width], or with 3 colors at the "
                "end; further dimensions must be 1. Save one channel and one "
                "time of it."
            )
        self.shape = (found[0], found[1], found[2])
        self.channels = 3 if has_colors else 1

    def _to_slice(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Brings a slice to the dimensions that `read` returns."""
        _, height, width = self.shape
        values = np.asarray(values).reshape(height, width, -1)
        return values[..., 0] if self.channels == 1 else values[..., :3]


def open_volume(path: str | os.PathLike[str]) -> Volume:
    """Opens a stack.

    Args:
        path: A TIFF file with several pages, or the folder of a Zarr array or
            an OME-Zarr image, whose largest resolution is taken.

    Raises:
        DataError: It is none, is damaged, or has other dimensions.
        InstallError: The package for its kind is not installed.
    """
    if pathlib.PurePath(path).suffix.lower() == ZARR_SUFFIX:
        return _ZarrVolume(os.fspath(path))
    return _TiffVolume(os.fspath(path))


def is_stack(path: str | os.PathLike[str]) -> bool:
    """Returns whether a path is a stack: Zarr, or TIFF with several pages.

    Raises:
        InstallError: It is a TIFF file with several pages, and tifffile is
            not installed.
    """
    suffix = pathlib.PurePath(path).suffix.lower()
    if suffix == ZARR_SUFFIX:
        return True
    if suffix not in TIFF_SUFFIXES or not os.path.isfile(path):
        return False
    try:
        return _TiffVolume(os.fspath(path)).shape[0] > 1
    except errors.InstallError:
        if _count_pages(path) == 1:
            return False
        raise
    except errors.DataError:
        return False  # An image, or what is to be refused as one.


def _count_pages(path: str | os.PathLike[str]) -> int:
    """Counts the pages of a TIFF file without tifffile; 1 where it is none."""
    try:
        with Image.open(path) as image:
            return int(getattr(image, "n_frames", 1))
    except (OSError, SyntaxError, ValueError):
        return 1


class _TiffVolume(Volume):
    """A TIFF file, also of ImageJ and of OME."""

    def __init__(self, path: str):
        """Opens the file and reads its tags."""
        tifffile = tiff_files.load_tifffile("Stacks in TIFF files", _EXTRA)
        self.path = path
        try:
            self._file = tifffile.TiffFile(path)
            series = self._file.series[0]
            shape = tuple(series.shape)
            self._set_shape(shape, series.axes, series.axes.endswith("S"))
        except errors.DataError:
            self.close()
            raise
        except Exception as error:  # Of many kinds, for damaged files.
            raise tiff_files.refuse(path, error) from error
        self.dtype = np.dtype(series.dtype)
        self._pages = series.pages
        self._whole: npt.NDArray[Any] | None = None
        if len(self._pages) != self.shape[0]:
            # ImageJ writes one page for all slices, one after the other.
            try:
                self._whole = tifffile.memmap(path, mode="r")
            except (ValueError, OSError) as error:
                self.close()
                raise errors.DataError(
                    f"{path} has {len(self._pages)} pages for {self.shape[0]} "
                    "slices, and is compressed. Save each slice as a page."
                ) from error
            self._whole = self._whole.reshape((*self.shape, -1))

    def read(self, number: int) -> npt.NDArray[Any]:
        """Reads a slice; see `Volume`."""
        if self._whole is not None:
            return self._to_slice(np.array(self._whole[number]))
        try:
            return self._to_slice(self._pages[number].asarray())
        except Exception as error:  # Of many kinds, for damaged files.
            raise tiff_files.refuse_part(
                self.path, f"slice {number}", error
            ) from error

    def close(self) -> None:
        """Closes the file."""
        if hasattr(self, "_file"):
            self._file.close()


class _ZarrVolume(Volume):
    """A Zarr array, or an OME-Zarr image."""

    def __init__(self, path: str):
        """Opens the array."""
        self.path = path
        level = zarr_folders.open_largest(
            path, "Stacks in Zarr folders", _EXTRA
        )
        found = level.array
        shape = tuple(found.shape)
        has_colors = len(shape) > 3 and shape[-1] in (3, 4)
        self._set_shape(shape, "as stored", has_colors)
        self._array = found
        self._leading = len(shape) - (4 if has_colors else 3)
        self.dtype = np.dtype(found.dtype)

    def close(self) -> None:
        """Does nothing: chunks are files of their own."""

    def read(self, number: int) -> npt.NDArray[Any]:
        """Reads a slice; see `Volume`."""
        place = (*(0,) * self._leading, number)
        try:
            return self._to_slice(self._array[place])
        except Exception as error:  # Of many kinds, for damaged files.
            raise tiff_files.refuse_part(
                self.path, f"slice {number}", error
            ) from error


def write_labels(
    path: str | os.PathLike[str],
    slices: Iterable[npt.NDArray[Any]],
    shape: tuple[int, int, int],
) -> None:
    """Writes a label volume, completely or not at all.

    Args:
        path: A path that ends in .tif (uint32 pages, zlib; BigTIFF where 4 GB
            may not suffice) or .zarr (uint32, chunks of one slice and at most
            1024 x 1024 pixels).
        slices: Labels [H, W] of each slice in order, 0..2**32 - 1.
        shape: (slices, height, width).

    Raises:
        InstallError: The package for its kind is not installed.
    """
    labels = (np.asarray(ids_hw, np.uint32) for ids_hw in slices)
    if pathlib.PurePath(path).suffix.lower() == ZARR_SUFFIX:
        _write_zarr(path, labels, shape)
    else:
        _write_tiff(path, labels, shape)


def _write_tiff(
    path: str | os.PathLike[str],
    labels: Iterator[npt.NDArray[np.uint32]],
    shape: tuple[int, int, int],
) -> None:
    tifffile = tiff_files.load_tifffile("Label volumes in TIFF files", _EXTRA)
    is_big = 4 * shape[0] * shape[1] * shape[2] > _BIG_TIFF
    with (
        whole_files.WholeFiles([path]) as (partial,),
        tifffile.TiffWriter(partial, bigtiff=is_big) as writer,
    ):
        for ids_hw in labels:
            writer.write(
                ids_hw,
                compression="zlib",
                photometric="minisblack",
                metadata=None,
                contiguous=False,
            )


def _write_zarr(
    path: str | os.PathLike[str],
    labels: Iterator[npt.NDArray[np.uint32]],
    shape: tuple[int, int, int],
) -> None:
    zarr = optional_packages.load(
        "zarr", "Label volumes in Zarr folders", _EXTRA
    )
    chunks = (1, min(shape[1], _CHUNK), min(shape[2], _CHUNK))
    with whole_files.new_folder(path) as partial:
        array = zarr.create_array(
            store=str(partial), shape=shape, chunks=chunks, dtype="uint32"
        )
        for number, ids_hw in enumerate(labels):
            array[number] = ids_hw
