# SPDX-License-Identifier: Apache-2.0
"""Pictures of large results: the image with its segments, as a pyramid."""

import contextlib
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from deeplab2_like.labels import palette
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.large_images import tiff_writing
from deeplab2_like.large_images.result import LabelMap, LargeResult, Segments
from deeplab2_like.large_images.tiff_writing import TILE
from deeplab2_like.rasters.source import LargeImage
from deeplab2_like.storage import optional_packages
from deeplab2_like.visualize import visualizer

# Columns of the image that are read at once.
_READ_COLUMNS = 8 * TILE
_QUALITY = 85
_OPAQUE = round(256 * visualizer.ALPHA)
# A table of colors by id is made up to this id; beyond, ids are looked up.
_MOST_TABLE = 1 << 26


class Painter:
    """Colors of segments: their class, and for things a shade of it."""

    def __init__(self, segments: Segments, descriptor: DatasetDescriptor):
        """Chooses the colors.

        Args:
            segments: The table.
            descriptor: The data set of the model.
        """
        colors = palette.choose_class_colors(descriptor)
        numbers = np.where(segments.is_thing, segments.id, 0).astype(np.int64)
        shades = palette.shade_instances(colors[segments.category], numbers)
        order = np.argsort(segments.id, kind="stable")
        self._ids = np.append(np.uint32(0), segments.id[order])
        void = np.array([palette.VOID], np.uint8)
        self._colors = np.concatenate([void, shades[order].reshape(-1, 3)])
        self._table: npt.NDArray[np.uint8] | None = None
        largest = int(self._ids[-1])
        if largest < _MOST_TABLE:
            self._table = np.tile(void, (largest + 1, 1))
            self._table[self._ids] = self._colors

    def paint(
        self,
        image: npt.NDArray[np.uint8],
        ids: npt.NDArray[np.uint32],
    ) -> npt.NDArray[np.uint8]:
        """Paints segments over a part of an image.

        Args:
            image: uint8 [h, w, 3].
            ids: uint32 [h + 1, w + 1], with the row above and the column to
                the left of the part; where there is none, the first again.

        Returns:
            uint8 [h, w, 3], with a light line where segments begin.
        """
        own = ids[1:, 1:]
        if self._table is not None:
            colors = self._table[own]
        else:
            colors = self._colors[np.searchsorted(self._ids, own)]
        mixed = image.astype(np.uint16) * np.uint16(256 - _OPAQUE)
        mixed += colors * np.uint16(_OPAQUE)
        painted = (mixed >> 8).astype(np.uint8)
        is_border = (own != ids[:-1, 1:]) | (own != ids[1:, :-1])
        light = painted[is_border] // visualizer.BORDER_DARKEN
        painted[is_border] = light + np.uint8(visualizer.BORDER_LIGHT)
        return painted


def write_overlay(
    path: str | os.PathLike[str],
    image: LargeImage,
    result: LargeResult,
    descriptor: DatasetDescriptor,
    *,
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Writes an image with its segments as a pyramid, in a tiled BigTIFF.

    Levels have half of the rows and columns of the one before, down to one
    tile; they are pages of their own, which programs for slides and for maps
    know as a pyramid. Tiles are compressed as JPEG, or by zlib where
    imagecodecs is not installed. A row of tiles is in memory; the smaller
    levels lie in temporary files beside the result, of a third of its pixels,
    until it is complete.

    Args:
        path: Path of the file, in an existing folder.
        image: The image, which is read again; where it lies is written too.
        result: Its segments.
        descriptor: The data set of the model.
        advance: Function that is called with the number of rows painted.

    Raises:
        InstallError: See `tiff_writing`.
    """
    options: dict[str, Any] = {
        "dtype": np.uint8,
        "photometric": "rgb",
        **tiff_writing.OPTIONS,
    }
    if optional_packages.is_installed("imagecodecs"):
        options |= {
            "compression": "jpeg",  # In YCbCr, of RGB.
            "compressionargs": {"level": _QUALITY},
        }
    size = (image.height, image.width)
    count = max(0, math.ceil(math.log2(max(size) / TILE)))
    painter = Painter(result.segments, descriptor)
    folder = os.path.dirname(os.path.abspath(path))
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(
            tiff_writing.open_writer(path, "Overlays of large images")
        )
        rows = _RowFile(stack, folder, size) if count else None
        writer.write(
            _paint_tiles(image, result.labels, painter, rows, advance),
            shape=(*size, 3),
            **options,
            **tiff_writing.describe_place(image.place),
        )
        for level in range(1, count + 1):
            assert rows is not None
            above, rows = rows, None
            if level < count:
                rows = _RowFile(stack, folder, above.size)
            writer.write(
                _cut_tiles(above, rows),
                shape=(*above.size, 3),
                subfiletype=1,
                **options,
            )
            above.close()


class _RowFile:
    """A temporary file with the rows of a level of half the size.

    Attributes:
        size: (height, width) of the level.
    """

    def __init__(
        self, stack: contextlib.ExitStack, folder: str, above: tuple[int, int]
    ):
        """Creates the file, which has no name and is gone with the program."""
        self.size = (-(-above[0] // 2), -(-above[1] // 2))
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._file: IO[bytes] = stack.enter_context(file)

    def append(self, rows: npt.NDArray[np.uint8]) -> None:
        """Appends rows of the level above, [rows, W, 3], averaged by four."""
        height, width = rows.shape[:2]
        rows = np.pad(
            rows, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge"
        )
        total = rows[::2].astype(np.uint16) + rows[1::2]
        total = total[:, ::2] + total[:, 1::2]
        self._file.write(((total + 2) >> 2).astype(np.uint8).tobytes())

    def read(self, top: int, bottom: int) -> npt.NDArray[np.uint8]:
        """Reads rows of the level: uint8 [rows, W, 3]."""
        row_bytes = 3 * self.size[1]
        self._file.seek(top * row_bytes)
        data = self._file.read((bottom - top) * row_bytes)
        return np.frombuffer(data, np.uint8).reshape(-1, self.size[1], 3)

    def close(self) -> None:
        """Deletes the file."""
        self._file.close()


def _paint_tiles(
    image: LargeImage,
    labels: LabelMap,
    painter: Painter,
    below: _RowFile | None,
    advance: Callable[[int], None],
) -> Iterator[npt.NDArray[np.uint8]]:
    """Yields the tiles of the image, and appends their rows to a level."""
    last: npt.NDArray[np.uint32] | None = None
    for top in range(0, image.height, TILE):
        bottom = min(top + TILE, image.height)
        ids = labels.read(top, bottom)
        ids = np.concatenate([ids[:1] if last is None else last, ids])
        last = ids[-1:].copy()
        painted = np.empty((bottom - top, image.width, 3), np.uint8)
        for left in range(0, image.width, _READ_COLUMNS):
            right = min(left + _READ_COLUMNS, image.width)
            part = ids[:, max(left - 1, 0) : right]
            if not left:
                part = np.concatenate([part[:, :1], part], axis=1)
            pixels = image.read(top, left, bottom, right).image
            painted[:, left:right] = painter.paint(pixels, part)
        if below is not None:
            below.append(painted)
        advance(bottom)
        for left in range(0, image.width, TILE):
            yield tiff_writing.pad_tile(painted[:, left : left + TILE])


def _cut_tiles(
    level: _RowFile, below: _RowFile | None
) -> Iterator[npt.NDArray[np.uint8]]:
    """Yields the tiles of a level, and appends its rows to the next one."""
    height, width = level.size
    for top in range(0, height, TILE):
        rows = level.read(top, min(top + TILE, height))
        if below is not None:
            below.append(rows)
        for left in range(0, width, TILE):
            yield tiff_writing.pad_tile(rows[:, left : left + TILE])
