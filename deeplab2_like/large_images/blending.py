# SPDX-License-Identifier: Apache-2.0
"""Rows of the head outputs of the whole image, blended from its tiles.

The value of a position is the mean of the tiles that show it, by the weights
of `tiling`. It is computed in float64 and rounded to float32 once: products of
float32 with small integers are exact there, and so are their sums where all
values are equal. Then the blend is that value, bit by bit.
"""

import numpy as np
import numpy.typing as npt

from deeplab2_like.large_images import tiling as tiling_lib
from deeplab2_like.large_images import work_folder


class HeadMaps:
    """The head outputs of the whole image, which are read by rows.

    Attributes:
        height: Rows of the maps, those of the canvas.
        width: Columns of the maps.
        stride: Pixels from one position to the next.
    """

    def __init__(
        self,
        tiling: tiling_lib.Tiling,
        folder: work_folder.WorkFolder,
        shape: work_folder.HeadShape,
        stride: int,
    ):
        """Stores where the maps are; reads nothing.

        Args:
            tiling: The tiles, all of which are done.
            folder: The work files.
            shape: The maps of a tile.
            stride: Pixels from one position to the next.
        """
        self.stride = stride
        self.height, self.width = (
            (axis.canvas - 1) // stride + 1
            for axis in (tiling.rows, tiling.columns)
        )
        self._tiling, self._folder, self._shape = tiling, folder, shape
        self._row_weights, self._column_weights = (
            [axis.weigh(index, stride) for index in range(len(axis.starts))]
            for axis in (tiling.rows, tiling.columns)
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the maps."""
        return tuple(self._shape.channels)

    def read(self, name: str, top: int, bottom: int) -> npt.NDArray[np.float32]:
        """Reads rows of a map.

        Args:
            name: Name of the map.
            top: First row.
            bottom: Row behind the last, at most `height`.

        Returns:
            float32 [bottom - top, width, channels].
        """
        shape = (bottom - top, self.width, self._shape.channels[name])
        total = np.zeros(shape, np.float64)
        weight = np.zeros(shape[:2], np.int64)
        for row, start in enumerate(self._tiling.rows.starts):
            first = start // self.stride
            # Of positions without weight nothing is read, not even NaN.
            used = np.flatnonzero(self._row_weights[row])
            begin = max(top, first + int(used[0]))
            end = min(bottom, first + int(used[-1]) + 1)
            if begin < end:
                part = slice(begin - top, end - top)
                rows = (begin - first, end - first)
                self._add_row(name, row, rows, total[part], weight[part])
        total /= weight[..., np.newaxis]
        return total.astype(np.float32)

    def _add_row(
        self,
        name: str,
        row: int,
        rows: tuple[int, int],
        total: npt.NDArray[np.float64],
        weight: npt.NDArray[np.int64],
    ) -> None:
        """Adds rows of the tiles of a row of the grid."""
        of_rows = self._row_weights[row][slice(*rows)]
        for column, start in enumerate(self._tiling.columns.starts):
            first = start // self.stride
            of_columns = self._column_weights[column][: self.width - first]
            used = np.flatnonzero(of_columns)
            begin, end = int(used[0]), int(used[-1]) + 1
            values = self._folder.read_tile(
                self._tiling.index(row, column), name, rows, self._shape
            )
            weights = np.outer(of_rows, of_columns[begin:end])
            place = slice(first + begin, first + end)
            product = values[:, begin:end] * weights[..., np.newaxis]
            total[:, place] += product
            weight[:, place] += weights
