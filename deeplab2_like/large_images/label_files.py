# SPDX-License-Identifier: Apache-2.0
"""Label maps as files: tiled BigTIFF, and OME-Zarr with a pyramid."""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like.large_images import tiff_writing
from deeplab2_like.large_images.result import LabelMap
from deeplab2_like.large_images.tiff_writing import TILE
from deeplab2_like.rasters.chunks import EXTRA, PixelScale
from deeplab2_like.rasters.source import Place
from deeplab2_like.storage import optional_packages, whole_files

_CHUNK = 1024
_ZARR_LEVEL = 2
# GDAL's tag for the value that stands for none.
_NODATA = (42113, "s", 2, "0", True)
_OME_VERSIONS = {2: "0.4", 3: "0.5"}


def write_label_tiff(
    path: str | os.PathLike[str],
    labels: LabelMap,
    *,
    place: Place | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Writes a label map as BigTIFF: uint32, tiles of 512 x 512, zlib.

    Args:
        path: Path of the file, in an existing folder.
        labels: The labels; a row of tiles is in memory.
        place: Where the image lies, which is written too.
        advance: Function that is called with the number of rows written.

    Raises:
        InstallError: See `tiff_writing`.
    """
    place = place or Place()
    options = tiff_writing.describe_place(place)
    if place.georeference is not None:
        options["extratags"].append(_NODATA)
    with tiff_writing.open_writer(path, "Label maps in TIFF files") as writer:
        writer.write(
            _cut_tiles(labels, advance),
            shape=(labels.height, labels.width),
            dtype=np.uint32,
            photometric="minisblack",
            **options,
            **tiff_writing.OPTIONS,
        )


def _cut_tiles(
    labels: LabelMap, advance: Callable[[int], None]
) -> Iterator[npt.NDArray[np.uint32]]:
    for top in range(0, labels.height, TILE):
        bottom = min(top + TILE, labels.height)
        band = labels.read(top, bottom)
        advance(bottom)
        for left in range(0, labels.width, TILE):
            yield tiff_writing.pad_tile(band[:, left : left + TILE])


def write_label_zarr(
    path: str | os.PathLike[str],
    labels: LabelMap,
    *,
    scale: PixelScale | None = None,
    zarr_format: int = 3,
    image_label: Mapping[str, Any] | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Writes a label map as the labels of an OME-Zarr image.

    Each level has half of the rows and columns of the one before, every second
    pixel, until it fits in a chunk; labels are never mixed. Written are uint32
    in chunks of 1024 x 1024.

    Args:
        path: Path of the folder; it appears when it is complete.
        labels: The labels; two rows of chunks are in memory.
        scale: Size of a pixel.
        zarr_format: 3 for OME-Zarr 0.5, 2 for 0.4.
        image_label: Further entries of `image-label`.
        advance: Function that is called with the number of rows written.

    Raises:
        InstallError: zarr is not installed.
    """
    zarr = optional_packages.load("zarr", "Label maps in Zarr folders", EXTRA)
    scale = scale or PixelScale()
    with whole_files.new_folder(path) as partial:
        group = zarr.open_group(str(partial), mode="w", zarr_format=zarr_format)
        levels = _write_levels(group, labels, zarr_format, advance)
        version = _OME_VERSIONS[zarr_format]
        entries: dict[str, Any] = {
            "multiscales": [_describe_levels(levels, scale, version)],
            "image-label": {"version": version, **(image_label or {})},
        }
        if zarr_format > _ZARR_LEVEL:
            entries = {"ome": {"version": version, **entries}}
        group.attrs.update(entries)


def _write_levels(
    group: Any,
    labels: LabelMap,
    zarr_format: int,
    advance: Callable[[int], None],
) -> int:
    """Writes the arrays of all levels; returns their number."""
    height, width = labels.height, labels.width
    level, before = 0, None
    while True:
        options: dict[str, Any] = {}
        if zarr_format > _ZARR_LEVEL:
            options["dimension_names"] = ["y", "x"]
        else:
            options["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
        array = group.create_array(
            str(level),
            shape=(height, width),
            chunks=(min(_CHUNK, height), min(_CHUNK, width)),
            dtype="uint32",
            **options,
        )
        for top in range(0, height, _CHUNK):
            bottom = min(top + _CHUNK, height)
            if before is None:
                array[top:bottom] = labels.read(top, bottom)
                advance(bottom)
            else:
                last = min(2 * bottom, before.shape[0])
                array[top:bottom] = before[2 * top : last][::2, ::2]
        level += 1
        if max(height, width) <= _CHUNK:
            return level
        before = array
        height, width = -(-height // 2), -(-width // 2)


def _describe_levels(
    count: int, scale: PixelScale, version: str
) -> dict[str, Any]:
    axes = [{"name": name, "type": "space"} for name in ("y", "x")]
    if scale.unit:
        axes = [{**axis, "unit": scale.unit} for axis in axes]
    entry: dict[str, Any] = {
        "name": "labels",
        "axes": axes,
        "type": "nearest",
        "datasets": [
            {
                "path": str(level),
                "coordinateTransformations": [
                    {
                        "type": "scale",
                        "scale": [
                            scale.height * 2**level,
                            scale.width * 2**level,
                        ],
                    }
                ],
            }
            for level in range(count)
        ],
    }
    if version == _OME_VERSIONS[_ZARR_LEVEL]:
        entry["version"] = version
    return entry
