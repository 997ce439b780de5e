# SPDX-License-Identifier: Apache-2.0
"""Windows of a label map that need not fit in memory."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.rasters import raster
from deeplab2_like.rasters.chunks import Chunks
from deeplab2_like.rasters.source import Box

_LARGEST = 2**32 - 1


class Labels(NamedTuple):
    """A part of a label map.

    Attributes:
        ids: uint32 [h, w]; 0 where they could not be decoded.
        damaged: Where that is, in the coordinates of the whole map.
    """

    ids: npt.NDArray[np.uint32]
    damaged: tuple[Box, ...]


class _Chunk(NamedTuple):
    """The labels of a chunk, and what is wrong with them; "" if nothing."""

    ids: npt.NDArray[np.uint32]
    problem: str = ""

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self.ids.nbytes


class LabelRaster(raster.Raster[_Chunk]):
    """A file of whole numbers, one a pixel."""

    def __init__(self, chunks: Chunks, cache_bytes: int):
        """Decodes nothing.

        Args:
            chunks: The file, which is closed with this.
            cache_bytes: Most bytes of decoded chunks.

        Raises:
            DataError: It has colors, or no whole numbers.
        """
        super().__init__(chunks, self._decode, cache_bytes)
        if chunks.channels != 1 or chunks.dtype.kind not in "ui":
            raise errors.DataError(
                f"{chunks.path} is no label map: it has {chunks.channels} "
                f"channel(s) of {chunks.dtype}. Labels are whole numbers, one "
                "a pixel."
            )

    def read(self, top: int, left: int, bottom: int, right: int) -> Labels:
        """Reads a part, which lies within the map.

        Raises:
            DataError: A label is below 0 or above 2**32 - 1.
        """
        ids = np.zeros((max(bottom - top, 0), max(right - left, 0)), np.uint32)
        damaged = []
        for piece in self._cache.pieces(top, left, bottom, right):
            if piece.chunk is None:
                damaged.append(piece.box)
                continue
            if piece.chunk.problem:
                raise errors.DataError(piece.chunk.problem)
            ids[piece.inside] = piece.chunk.ids[piece.source]
        return Labels(ids, tuple(damaged))

    def _decode(self, box: Box) -> _Chunk:
        values = self._chunks.decode(box, [0]).values[..., 0]
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > _LARGEST:
            return _Chunk(
                np.zeros(values.shape, np.uint32),
                f"{self.path} has the label {low if low < 0 else high}, rows "
                f"{box.top} to {box.bottom - 1}. Labels are 0 to {_LARGEST}.",
            )
        return _Chunk(np.ascontiguousarray(values, np.uint32))
