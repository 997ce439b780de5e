# SPDX-License-Identifier: Apache-2.0
"""Opens images that need not fit in memory."""

import os
import pathlib
from collections.abc import Callable, Sequence

from deeplab2_like import errors
from deeplab2_like.rasters import channels as channels_lib
from deeplab2_like.rasters import geo, label_raster, plain, tiff, zarr_arrays
from deeplab2_like.rasters.chunked_image import CACHE_BYTES, ChunkedImage
from deeplab2_like.rasters.chunks import Chunks
from deeplab2_like.storage import (
    any_files,
    pixel_values,
    tiff_files,
    zarr_folders,
)


def open_large(
    path: str | os.PathLike[str],
    *,
    value_range: pixel_values.Range | None = None,
    channels: Sequence[int] | None = None,
    upright: bool = True,
    cache_bytes: int = CACHE_BYTES,
    log: Callable[[str], None] = lambda _: None,
) -> ChunkedImage:
    """Opens an image that is read in windows.

    The content decides how it is read: TIFF by tifffile, and by rasterio if it
    has a georeference; JPEG 2000 by rasterio; folders as Zarr; others are
    decoded as a whole.

    Args:
        path: A file, by its path or address; or the path of the folder of a
            Zarr array or OME-Zarr image.
        value_range: See `ChunkedImage`.
        channels: See `ChunkedImage`.
        upright: Whether the EXIF orientation of plain images is applied.
        cache_bytes: See `ChunkedImage`.
        log: Function that is called with sentences about what is read.

    Raises:
        ConfigError: `channels` are no legal choice.
        DataError: The file is missing, damaged, or of no kind that is read.
        InstallError: A package for its kind is not installed.
    """
    channels_lib.check(channels)
    chunks = _open(os.fspath(path), upright, log)
    try:
        return ChunkedImage(
            chunks,
            value_range=value_range,
            channels=channels,
            cache_bytes=cache_bytes,
            log=log,
        )
    except BaseException:
        chunks.close()
        raise


def open_labels(
    path: str | os.PathLike[str], *, cache_bytes: int = CACHE_BYTES
) -> label_raster.LabelRaster:
    """Opens a label map that is read in windows.

    Args:
        path: A TIFF file, by its path or address, or the folder of a Zarr
            array or of labels in OME-Zarr, of whole numbers.
        cache_bytes: Most bytes of decoded chunks.

    Raises:
        DataError: The file is missing, damaged, or no label map.
        InstallError: A package for its kind is not installed.
    """
    chunks = _open(os.fspath(path), False, lambda _: None)
    try:
        return label_raster.LabelRaster(chunks, cache_bytes)
    except BaseException:
        chunks.close()
        raise


def _open(path: str, upright: bool, log: Callable[[str], None]) -> Chunks:
    is_remote = any_files.is_remote(path)
    if not any_files.exists(path):
        raise errors.DataError(
            f"{path} does not exist. Give an image file or a Zarr folder."
        )
    if any_files.is_folder(path):
        if is_remote:
            raise _refuse_address(path, "a folder")
        if not zarr_folders.is_zarr(path):
            raise errors.DataError(
                f"{path} is a folder. Give an image file, or a Zarr folder, "
                f"whose name ends in {zarr_folders.SUFFIX}."
            )
        return zarr_arrays.ZarrChunks(path)
    if not any_files.size(path):
        raise errors.DataError(f"{path} is empty. Copy or save it again.")
    if tiff_files.is_tiff(path):
        if tiff.has_georeference(path):
            if is_remote:
                raise _refuse_address(path, "an image with a georeference")
            return geo.GeoChunks(path)
        return tiff.TiffChunks(path)
    suffix = pathlib.PurePath(path).suffix.lower()
    if suffix in geo.JPEG_2000_SUFFIXES:
        if is_remote:
            raise _refuse_address(path, "a JPEG 2000 file")
        return geo.GeoChunks(path)
    return plain.PlainChunks(path, upright=upright, log=log)


def _refuse_address(path: str, what: str) -> errors.DataError:
    return errors.DataError(
        f"{path} is {what}, which is only read from a disk. Copy it to one, or "
        "save it as a tiled TIFF file without a georeference."
    )
