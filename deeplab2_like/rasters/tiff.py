# SPDX-License-Identifier: Apache-2.0
"""TIFF files of any size: tiled, in strips, pyramids, BigTIFF, OME, ImageJ."""

import contextlib
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.rasters import tiff_planes
from deeplab2_like.rasters.chunks import EXTRA, Chunks, Decoded, PixelScale
from deeplab2_like.rasters.source import Box
from deeplab2_like.storage import any_files, tiff_files

_WHAT = "Large TIFF files"
# Tags of GeoTIFF: scale, transformation, keys.
GEO_TAGS = (33550, 34264, 34735)
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_JPEG = (6, 7, 34892, 33007)
_ORIENTATION = 274
# Kinds of extra samples that are transparency.
_ALPHA = (1, 2)
_UNITS = {2: ("micrometer", 25400.0), 3: ("micrometer", 10000.0)}
_MOST_SAMPLES = 64


def has_georeference(path: str) -> bool:
    """Returns whether a TIFF file says where on earth it lies.

    Raises:
        DataError: The file cannot be read.
        InstallError: tifffile is not installed.
    """
    tifffile = tiff_files.load_tifffile(_WHAT, EXTRA)
    try:
        with (
            contextlib.closing(_Content(path)) as content,
            tifffile.TiffFile(content.source) as file,
        ):
            return any(tag in file.pages[0].tags for tag in GEO_TAGS)
    except Exception as error:  # Of many kinds, for damaged files.
        raise tiff_files.refuse(path, error) from error


class _Content:
    """What tifffile reads: a file by its path, or an open one at an address.

    Attributes:
        source: The path, or the open file.
    """

    def __init__(self, path: str):
        """Opens a file at an address; raises `OSError`."""
        self._file: IO[bytes] | None = None
        if any_files.is_remote(path):
            self._file = any_files.open_read(path)
        self.source = self._file or path

    def close(self) -> None:
        """Closes the file, if it was opened here."""
        if self._file is not None:
            self._file.close()


class TiffChunks(Chunks):
    """The largest image of a TIFF file."""

    def __init__(self, path: str):
        """Reads the tags.

        Raises:
            DataError: The file is no TIFF file, is damaged, or holds no single
                image of gray, colors or channels.
            InstallError: tifffile is not installed.
        """
        tifffile = tiff_files.load_tifffile(_WHAT, EXTRA)
        self.path = path
        self._content: _Content | None = None
        self._file: Any = None
        try:
            self._content = _Content(path)
            self._file = tifffile.TiffFile(self._content.source)
            self._open()
        except errors.UserError:
            self.close()
            raise
        except Exception as error:  # Of many kinds, for damaged files.
            self.close()
            raise tiff_files.refuse(path, error) from error

    def _open(self) -> None:
        series = self._file.series[0]
        level = max(series.levels, key=lambda one: int(np.prod(one.shape)))
        page = level.keyframe
        self._page = page
        self.height, self.width = int(page.imagelength), int(page.imagewidth)
        self.dtype = np.dtype(level.dtype)
        self._check_page(page)
        self._planes = self._open_planes(level)
        first = self._planes[0]
        if any(plane.chunk != first.chunk for plane in self._planes):
            raise errors.DataError(
                f"{self.path} has channels in tiles of different sizes. Save "
                "it again with one size."
            )
        self.chunk = first.chunk
        self.chunk_channels = first.samples
        self.scale = _read_scale(page)
        samples = len(self._planes) * first.samples
        self._alpha = _find_alpha(page) if len(self._planes) == 1 else None
        self._palette: npt.NDArray[np.uint8] | None = None
        self.channels = samples - (self._alpha is not None)
        if int(page.photometric) == _PALETTE and page.colormap is not None:
            colors = np.asarray(page.colormap).T
            self._palette = (colors >> 8).astype(np.uint8)
            self.channels, self.dtype = 3, np.dtype(np.uint8)

    def _check_page(self, page: Any) -> None:
        photometric = int(page.photometric)
        known = (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE)
        is_jpeg = int(page.compression) in _JPEG
        if photometric not in known and not (photometric == _YCBCR and is_jpeg):
            name = getattr(page.photometric, "name", str(photometric))
            raise errors.DataError(
                f"{self.path} has the color space {name}. Read are gray, RGB, "
                "palettes, and YCbCr in JPEG: save it as RGB."
            )
        if photometric == _WHITE_IS_ZERO and self.dtype.kind not in "bu":
            raise errors.DataError(
                f"{self.path} has {self.dtype} values of which 0 is white. "
                "Save it with 0 as black."
            )
        orientation = page.tags.valueof(_ORIENTATION, 1)
        if int(orientation) != 1:
            raise errors.DataError(
                f"{self.path} is to be turned or mirrored (its tag Orientation "
                f"is {int(orientation)}), which is not done for large images. "
                "Turn its pixels and save it with the orientation 1."
            )
        if page.samplesperpixel > _MOST_SAMPLES:
            raise errors.DataError(
                f"{self.path} has {page.samplesperpixel} channels. The limit "
                f"is {_MOST_SAMPLES}."
            )

    def _open_planes(self, level: Any) -> list[tiff_planes.Plane]:
        """Returns the planes of the channels; one where pixels have them."""
        page = self._page
        handle = tiff_planes.ReadFile(self._file.filehandle)
        order = self._file.byteorder
        samples = self.height * self.width * int(page.samplesperpixel)
        if int(np.prod(level.shape, dtype=np.int64)) == samples:
            return [tiff_planes.open_page(page, handle, order)]
        axes = {
            name: int(length)
            for name, length in zip(level.axes, level.shape, strict=True)
            if name not in "YXS" and length != 1
        }
        if set(axes) - {"C"} or axes.get("C", 0) > _MOST_SAMPLES:
            text = ", ".join(f"{name}: {n}" for name, n in axes.items())
            raise errors.DataError(
                f"{self.path} holds several images ({text}). Save one of them "
                "to a file; a stack of slices is predicted with --link."
            )
        count = axes.get("C", 1)
        pages = [page for page in level.pages if page is not None]
        if len(pages) >= count:
            return [
                tiff_planes.open_page(page.aspage(), handle, order)
                for page in pages[:count]
            ]
        if level.dataoffset is None:
            raise errors.DataError(
                f"{self.path} has {len(pages)} pages for {count} channels. "
                "Save each channel as a page."
            )
        size = (self.height, self.width)
        dtype = self.dtype.newbyteorder(order)
        step = self.height * self.width * self.dtype.itemsize
        return [
            tiff_planes.RowPlane(
                handle,
                size,
                1,
                dtype,
                [int(level.dataoffset) + number * step],
                self.height,
            )
            for number in range(count)
        ]

    def decode(
        self, box: tuple[int, int, int, int], channels: Sequence[int]
    ) -> Decoded:
        """Decodes a tile, a strip or rows; see `Chunks.decode`."""
        box = Box(*box)
        try:
            values, is_valid = self._read(box, channels)
        except Exception as error:  # Of many kinds, for damaged files.
            where = (
                f"rows {box.top} to {box.bottom - 1}, columns {box.left} to "
                f"{box.right - 1}"
            )
            raise tiff_files.refuse_part(self.path, where, error) from error
        if int(self._page.photometric) == _WHITE_IS_ZERO:
            values = (
                np.iinfo(self.dtype).max - values
                if (self.dtype.kind == "u")
                else ~values
            )
        return Decoded(values, is_valid)

    def _read(
        self, box: Box, channels: Sequence[int]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
        size = (box.bottom - box.top, box.right - box.left)
        if self._palette is not None:
            found = self._planes[0].read(box, [0])
            if found is None:
                return _missing(size, len(channels), self.dtype)
            colors = self._palette[found[..., 0]]
            return colors[..., list(channels)], None
        if len(self._planes) > 1:
            parts = [self._planes[c].read(box, [0]) for c in channels]
            if any(part is None for part in parts):
                return _missing(size, len(channels), self.dtype)
            return np.concatenate([p for p in parts if p is not None], -1), None
        samples = list(channels)
        if self._alpha is not None:
            samples = [c + (c >= self._alpha) for c in channels]
            samples.append(self._alpha)
        found = self._planes[0].read(box, samples)
        if found is None:
            return _missing(size, len(channels), self.dtype)
        if self._alpha is None:
            return found, None
        return found[..., :-1], found[..., -1] != 0

    def close(self) -> None:
        """Closes the file."""
        for file in (self._file, self._content):
            if file is not None:
                file.close()


def _missing(
    size: tuple[int, int], channels: int, dtype: np.dtype[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Returns a tile that the file leaves out: there are no pixels."""
    return np.zeros((*size, channels), dtype), np.zeros(size, bool)


def _find_alpha(page: Any) -> int | None:
    """Returns which sample of a page is transparency."""
    extra = [int(kind) for kind in page.extrasamples or ()]
    first = int(page.samplesperpixel) - len(extra)
    for number, kind in enumerate(extra):
        if kind in _ALPHA and first + number > 0:
            return first + number
    return None


def _read_scale(page: Any) -> PixelScale:
    """Returns the size of a pixel by the resolution; 1 where none is known."""
    unit = _UNITS.get(int(page.tags.valueof(296, 2)))
    sizes = []
    for tag in (283, 282):  # YResolution, XResolution.
        value = page.tags.valueof(tag, None)
        if unit is None or not isinstance(value, tuple) or 0 in value:
            return PixelScale()
        sizes.append(unit[1] * value[1] / value[0])
    # Programs write 1 or 72 to 300 dots an inch where they know nothing.
    if min(sizes) > 50:
        return PixelScale()
    assert unit is not None
    return PixelScale(sizes[0], sizes[1], unit[0])
