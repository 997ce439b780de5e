# SPDX-License-Identifier: Apache-2.0
"""GeoTIFF and JPEG 2000 of any size, by rasterio (GDAL)."""

import threading
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.rasters import georeference
from deeplab2_like.rasters.chunks import Chunks, Decoded
from deeplab2_like.storage import tiff_files

JPEG_2000_SUFFIXES = (".jp2", ".j2k")
# GDAL's readers. Others may open further files, and addresses.
_TIFF, _JPEG_2000 = "GTiff", "JP2OpenJPEG"
_CACHE_MEBIBYTES = 64
# Rows that are read at once from files with strips of few rows.
_ROW_BYTES = 1 << 22


class GeoChunks(Chunks):
    """An image that GDAL reads."""

    def __init__(self, path: str):
        """Opens the file.

        Raises:
            DataError: It cannot be read.
            InstallError: rasterio is not installed.
        """
        rasterio = georeference.load_rasterio()
        self.path = path
        self._lock = threading.Lock()
        self._env = {"GDAL_CACHEMAX": _CACHE_MEBIBYTES}
        self._rasterio = rasterio
        driver = _TIFF if tiff_files.is_tiff(path) else _JPEG_2000
        try:
            with warnings.catch_warnings(), rasterio.Env(**self._env):
                warnings.simplefilter("ignore")
                self._file = rasterio.open(path, driver=driver)
        except Exception as error:  # Of many kinds, for damaged files.
            raise errors.DataError(
                f"{path} cannot be read as a GeoTIFF or JPEG 2000 file "
                f"({tiff_files.describe_error(error)}). It is none, or was cut "
                "off or damaged: copy or save it again."
            ) from error
        self.georeference = georeference.read(self._file)
        self.height, self.width = self._file.height, self._file.width
        self.dtype = np.dtype(self._file.dtypes[0])
        self._set_channels()
        rows, columns = self._file.block_shapes[0]
        if columns >= self.width:
            row_bytes = self.width * self.dtype.itemsize * self._file.count
            rows *= max(1, _ROW_BYTES // max(1, row_bytes * rows))
        self.chunk = (min(rows, self.height), min(columns, self.width))
        self.chunk_channels = self._file.count

    def _set_channels(self) -> None:
        """Finds which bands are channels, and which are red, green, blue."""
        names = [kind.name for kind in self._file.colorinterp]
        self._bands = [
            number
            for number, name in enumerate(names, 1)
            if name != "alpha" or len(names) == 1
        ]
        self.channels = len(self._bands)
        self._palette: npt.NDArray[np.uint8] | None = None
        if names[0] == "palette":
            self._palette = np.zeros((1 << 16, 3), np.uint8)
            for value, color in self._file.colormap(1).items():
                self._palette[value] = color[:3]
            self.channels, self.dtype = 3, np.dtype(np.uint8)
            return
        if "cyan" in names:
            raise errors.DataError(
                f"{self.path} has the color space CMYK. Save it as RGB."
            )
        if {*self._file.dtypes} != {self._file.dtypes[0]}:
            raise errors.DataError(
                f"{self.path} has bands of different types "
                f"({', '.join(self._file.dtypes)}). Save it with one type."
            )
        if {"red", "green", "blue"} <= {*names}:
            places = [
                self._bands.index(names.index(color) + 1)
                for color in ("red", "green", "blue")
            ]
            self.color_channels = (places[0], places[1], places[2])

    def decode(
        self, box: tuple[int, int, int, int], channels: Sequence[int]
    ) -> Decoded:
        """Decodes a block; see `Chunks.decode`.

        Without a value are the pixels that GDAL's mask of the file leaves out:
        those of the nodata value in all bands, transparent ones, and those of
        a stored mask.
        """
        top, left, bottom, right = box
        window = self._rasterio.windows.Window(
            left, top, right - left, bottom - top
        )
        bands = (
            [1]
            if self._palette is not None
            else [self._bands[channel] for channel in channels]
        )
        try:
            with self._lock, self._rasterio.Env(**self._env):
                values = self._file.read(bands, window=window)
                is_valid = self._read_mask(window)
        except Exception as error:  # Of many kinds, for damaged files.
            cause = error.__cause__ or error
            raise errors.DataError(
                f"{self.path}, rows {top} to {bottom - 1}, columns {left} to "
                f"{right - 1}: it cannot be decoded "
                f"({tiff_files.describe_error(cause)})."
            ) from error
        values = np.moveaxis(values, 0, -1)
        if self._palette is not None:
            values = self._palette[values[..., 0]][..., list(channels)]
        return Decoded(values, is_valid)

    def _read_mask(self, window: Any) -> npt.NDArray[np.bool_] | None:
        flags = {
            flag.name for band in self._file.mask_flag_enums for flag in band
        }
        if flags == {"all_valid"}:
            return None
        return np.asarray(self._file.dataset_mask(window=window) != 0)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
