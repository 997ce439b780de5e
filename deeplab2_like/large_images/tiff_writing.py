# SPDX-License-Identifier: Apache-2.0
"""What all TIFF files of results have in common."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like.rasters.chunks import EXTRA
from deeplab2_like.rasters.source import Place
from deeplab2_like.storage import tiff_files, whole_files

TILE = 512
_MICROMETERS_PER_CENTIMETER = 10000.0
# tifffile's options of each page.
OPTIONS = {
    "tile": (TILE, TILE),
    "compression": "zlib",
    "metadata": None,
    "maxworkers": 1,
}


@contextlib.contextmanager
def open_writer(path: str | os.PathLike[str], what: str) -> Iterator[Any]:
    """Opens a BigTIFF file, which appears when the block ends.

    Args:
        path: Path of the file, in an existing folder.
        what: What needs tifffile, see `optional_packages.load`.

    Yields:
        tifffile's writer.

    Raises:
        InstallError: tifffile is not installed.
    """
    tifffile = tiff_files.load_tifffile(what, EXTRA)
    with (
        whole_files.WholeFiles([path]) as (partial,),
        tifffile.TiffWriter(partial, bigtiff=True) as writer,
    ):
        yield writer


def describe_place(place: Place) -> dict[str, Any]:
    """Returns tifffile's options for where an image lies.

    Sizes of pixels that are not in micrometers are left out.

    Raises:
        InstallError: rasterio is not installed, for a georeference.
    """
    options: dict[str, Any] = {"extratags": []}
    if place.georeference is not None:
        options["extratags"] = [*place.georeference.to_tiff_tags()]
    if place.scale.unit == "micrometer":
        options["resolutionunit"] = "CENTIMETER"
        options["resolution"] = (
            _MICROMETERS_PER_CENTIMETER / place.scale.width,
            _MICROMETERS_PER_CENTIMETER / place.scale.height,
        )
    return options


def pad_tile(tile: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns a tile at its full size, with 0 beyond the image."""
    height, width = tile.shape[:2]
    if (height, width) == (TILE, TILE):
        return np.ascontiguousarray(tile)
    padded = np.zeros((TILE, TILE, *tile.shape[2:]), tile.dtype)
    padded[:height, :width] = tile
    return padded
