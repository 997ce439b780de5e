# SPDX-License-Identifier: Apache-2.0
"""Overlapping tiles that cover an image, and the weight of each in the blend.

All tiles have one size and begin on multiples of the output stride, so that
the head positions of all tiles lie on one grid: position i of the whole image
is pixel i * head stride. The whole image is on its canvas, k * output stride +
1 pixels, which the last tiles end with; an image that is smaller than a tile
has one, which goes beyond its canvas.

Of n pixels that two neighbors share, a third at the border of each counts
nothing, and between these the weights change linearly. Weights are integers,
so that the blend of equal values is exactly that value (`blending`).
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.config import sizes
from deeplab2_like.large_images.source import Box

# Weight of positions that only count for one tile.
FULL_WEIGHT = 1 << 10


@dataclasses.dataclass(frozen=True)
class Axis:
    """The tiles along an axis.

    Attributes:
        length: Pixels of the image.
        canvas: Pixels of its canvas.
        tile: Pixels of a tile.
        starts: First pixel of each tile, ascending.
    """

    length: int
    canvas: int
    tile: int
    starts: tuple[int, ...]

    def measure_shared(self, index: int) -> int:
        """Returns how far a tile reaches beyond the next one's first pixel."""
        return self.starts[index] + self.tile - 1 - self.starts[index + 1]

    def find_own(self, index: int) -> tuple[int, int]:
        """Returns the pixels that lie nearer to a tile's middle than others'.

        Returns:
            The first one, and the one behind the last; there may be none.
        """
        ends = [
            (one + other + self.tile) // 2
            for one, other in zip(self.starts, self.starts[1:], strict=False)
        ]
        ends = [0, *ends, self.length]
        return min(ends[index], self.length), min(ends[index + 1], self.length)

    def weigh(self, index: int, head_stride: int) -> npt.NDArray[np.int64]:
        """Returns the weight of each head position of a tile: int64 [h]."""
        count = (self.tile - 1) // head_stride + 1
        weights = np.full(count, FULL_WEIGHT, np.int64)
        if index > 0:
            shared = self.measure_shared(index - 1) // head_stride
            weights = _ramp(count, shared)
        if index + 1 < len(self.starts):
            shared = self.measure_shared(index) // head_stride
            weights = np.minimum(weights, _ramp(count, shared)[::-1])
        return weights


def _ramp(count: int, shared: int) -> npt.NDArray[np.int64]:
    """Returns weights that rise along the shared steps: int64 [count].

    Neighbors share `shared` + 1 positions; the mirror image of the ramp is the
    one of the neighbor.
    """
    position = np.arange(count)
    margin = (shared + 1) // 3
    steps = shared + 1 - 2 * margin
    rise = np.clip(position - margin + 1, 0, steps + 1)
    return rise * FULL_WEIGHT // (steps + 1)


@dataclasses.dataclass(frozen=True)
class Tiling:
    """The tiles of an image, in raster order.

    Attributes:
        rows: The tiles from top to bottom.
        columns: The tiles from left to right.
    """

    rows: Axis
    columns: Axis

    def __len__(self) -> int:
        """Returns the number of tiles."""
        return len(self.rows.starts) * len(self.columns.starts)

    def place(self, index: int) -> tuple[int, int]:
        """Returns row and column of a tile in the grid."""
        return divmod(index, len(self.columns.starts))

    def index(self, row: int, column: int) -> int:
        """Returns the number of a tile."""
        return row * len(self.columns.starts) + column

    def box(self, index: int) -> Box:
        """Returns the part of the image that a tile shows."""
        row, column = self.place(index)
        top, left = self.rows.starts[row], self.columns.starts[column]
        return Box(
            top,
            left,
            min(top + self.rows.tile, self.rows.length),
            min(left + self.columns.tile, self.columns.length),
        )

    def boxes(self) -> Iterator[Box]:
        """Yields the parts of all tiles."""
        return map(self.box, range(len(self)))


def find_largest_overlap(
    tile: int, output_stride: int, remainder: int = 1
) -> int:
    """Returns the most pixels that neighbors can share.

    Args:
        tile: See `make_axis`.
        output_stride: As there.
        remainder: As there.

    Returns:
        0 or more, a multiple of the output stride.
    """
    return tile - remainder - output_stride


def make_axis(
    length: int, tile: int, overlap: int, output_stride: int, remainder: int = 1
) -> Axis:
    """Makes as few tiles as cover an axis, evenly spread.

    Args:
        length: Pixels of the image.
        tile: Pixels of a tile, k * output_stride + remainder.
        overlap: Pixels that neighbors share at least; rounded up to a multiple
            of the stride.
        output_stride: Distance of the places where tiles may begin.
        remainder: `Preprocessing.canvas_remainder`, 1 or 0.

    Raises:
        ConfigError: The overlap leaves no pixel between tiles.
    """
    canvas = sizes.legal_canvas(length, output_stride, remainder)
    if canvas <= tile:
        return Axis(length, canvas, tile, (0,))
    largest = find_largest_overlap(tile, output_stride, remainder)
    if overlap > largest:
        raise errors.ConfigError(
            f"--overlap={overlap} is too much for --tile={tile}: give at most "
            f"{largest}."
        )
    step = (tile - remainder) // output_stride - -(-overlap // output_stride)
    steps = (canvas - tile) // output_stride
    last = -(-steps // step)
    starts = (index * steps // last for index in range(last + 1))
    return Axis(
        length, canvas, tile, tuple(start * output_stride for start in starts)
    )


def make_tiling(
    size: tuple[int, int],
    tile: int,
    overlap: int,
    output_stride: int,
    remainder: int = 1,
) -> Tiling:
    """Makes the tiles of an image; see `make_axis`.

    Args:
        size: (height, width) of the image.
        tile: As there; so are the others.
        overlap: As there.
        output_stride: As there.
        remainder: As there.
    """
    rows, columns = (
        make_axis(length, tile, overlap, output_stride, remainder)
        for length in size
    )
    return Tiling(rows, columns)
