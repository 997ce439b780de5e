# SPDX-License-Identifier: Apache-2.0
"""Zarr arrays and OME-Zarr images of any size, the largest resolution."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from deeplab2_like import errors
from deeplab2_like.rasters.chunks import EXTRA, Chunks, Decoded, PixelScale
from deeplab2_like.storage import tiff_files, zarr_folders

# Dimensions without names of at most this length are channels.
_MOST_UNNAMED = 4


class ZarrChunks(Chunks):
    """An image in a Zarr folder: rows, columns, and channels if any."""

    def __init__(self, path: str):
        """Opens the array.

        Raises:
            DataError: It is none, is damaged, or holds several images.
            InstallError: zarr is not installed.
        """
        level = zarr_folders.open_largest(path, "Large Zarr images", EXTRA)
        self.path = path
        self._array = level.array
        shape = tuple(int(n) for n in level.array.shape)
        self._y, self._x, self._c = self._find_axes(shape, level.axes)
        self.height, self.width = shape[self._y], shape[self._x]
        self.channels = 1 if self._c is None else shape[self._c]
        self.dtype = np.dtype(level.array.dtype)
        chunks = [int(n) for n in level.array.chunks]
        self.chunk = (
            min(chunks[self._y], max(self.height, 1)),
            min(chunks[self._x], max(self.width, 1)),
        )
        self.chunk_channels = 1 if self._c is None else chunks[self._c]
        self.scale = PixelScale(
            level.scale[self._y], level.scale[self._x], level.units[self._x]
        )

    def _find_axes(
        self, shape: tuple[int, ...], names: tuple[str, ...]
    ) -> tuple[int, int, int | None]:
        """Returns the dimensions of rows, columns and channels."""
        others = [n for n, length in enumerate(shape) if length != 1]
        if "y" in names and "x" in names:
            y, x = names.index("y"), names.index("x")
            c = names.index("c") if "c" in names else None
        else:
            kept = list(range(len(shape)))
            while len(kept) > 2 and shape[kept[0]] == 1:
                kept = kept[1:]
            c = None
            if len(kept) == 3:
                lengths = [shape[n] for n in kept]
                if lengths[2] <= _MOST_UNNAMED:
                    c = kept.pop(2)
                elif lengths[0] <= _MOST_UNNAMED:
                    c = kept.pop(0)
            if len(kept) < 2:
                raise errors.DataError(
                    f"{self.path} has the dimensions {list(shape)}. An image "
                    "has rows and columns: [y, x], [c, y, x] or [y, x, c]."
                )
            y, x = kept[-2:]
        left = [n for n in others if n not in (y, x, c)]
        if left:
            text = ", ".join(f"{names[n] or n}: {shape[n]}" for n in left)
            raise errors.DataError(
                f"{self.path} holds several images (dimensions {list(shape)}, "
                f"of which further are {text}). Save one of them; a stack of "
                "slices is predicted with --link."
            )
        return y, x, c

    def decode(
        self, box: tuple[int, int, int, int], channels: Sequence[int]
    ) -> Decoded:
        """Decodes a chunk; see `Chunks.decode`."""
        top, left, bottom, right = box
        place: list[Any] = [0] * self._array.ndim
        place[self._y] = slice(top, bottom)
        place[self._x] = slice(left, right)
        try:
            if self._c is None:
                parts = self._read(place)[..., np.newaxis]
                return Decoded(np.repeat(parts, len(channels), axis=-1))
            if self.chunk_channels > 1:
                first = min(channels)
                place[self._c] = slice(first, max(channels) + 1)
                values = self._read(place)
                return Decoded(values[..., [c - first for c in channels]])
            planes = []
            for channel in channels:
                place[self._c] = channel
                planes.append(self._read(place))
            return Decoded(np.stack(planes, axis=-1))
        except Exception as error:  # Of many kinds, for damaged files.
            where = f"rows {top} to {bottom - 1}, columns {left} to {right - 1}"
            raise tiff_files.refuse_part(self.path, where, error) from error

    def _read(self, place: list[Any]) -> np.ndarray[Any, Any]:
        """Reads a part as [h, w], or [h, w, channels] of several channels."""
        values = np.asarray(self._array[tuple(place)])
        kept = [n for n, part in enumerate(place) if isinstance(part, slice)]
        order = [n for n in (self._y, self._x, self._c) if n in kept]
        return values.transpose([kept.index(n) for n in order])

    def close(self) -> None:
        """Does nothing: chunks are files of their own."""
