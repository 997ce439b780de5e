# SPDX-License-Identifier: Apache-2.0
"""Maps of numbers, such as mask logits, read at the pixels of image tiles.

`pasting` draws small masks with zeros around them; these are maps of any size,
and values beyond the edge are those at the edge.

h, w: size of a map; T: side of a tile (`pasting.TILE`).
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from deeplab2_like.graph import compilation, exact_floats
from deeplab2_like.graph.compilation import Size
from deeplab2_like.postprocess.masks.pasting import TILE, TileGrid
from deeplab2_like.postprocess.pixels import upsampling

# Far more than the relative rounding error of an interpolation.
_MARGIN = 1e-5
# Differences of larger numbers may be infinite.
_LARGEST = 1e30


class Region(NamedTuple):
    """A rectangle of pixels, and the tiles that it touches.

    Attributes:
        start: int32 [2], row and column of the first pixel.
        end: int32 [2], row and column behind the last pixel.
        first_tile: int32 [2], row and column of the first tile.
        num_tiles: int32 [2], rows and columns of tiles; 0 if there is none.
    """

    start: tf.Tensor
    end: tf.Tensor
    first_tile: tf.Tensor
    num_tiles: tf.Tensor

    @property
    def count(self) -> tf.Tensor:
        """int32, number of tiles."""
        return tf.reduce_prod(self.num_tiles)

    def find_tile(self, number: tf.Tensor) -> tf.Tensor:
        """Returns row and column, int32 [2], of the n-th tile."""
        columns = tf.maximum(self.num_tiles[1], 1)
        within = tf.stack([number // columns, number % columns])
        return self.first_tile + within

    def mark_inside(self, tile: tf.Tensor) -> tf.Tensor:
        """Marks the pixels of a tile that are in the region: bool [T, T]."""
        pixel = tile[:, tf.newaxis] * TILE + tf.range(TILE)
        is_inside = pixel >= self.start[:, tf.newaxis]
        is_inside &= pixel < self.end[:, tf.newaxis]
        return is_inside[0][:, tf.newaxis] & is_inside[1]

    def mark_tiles(self, tiles: tuple[Size, Size]) -> tuple[tf.Tensor, ...]:
        """Marks the tiles that the region touches and those that lie inside.

        Args:
            tiles: Number of rows and columns of tiles of the image.

        Returns:
            bool [rows, columns] each.
        """
        touched, inside = [], []
        for axis, number in enumerate(tiles):
            tile = tf.range(number)
            place = tile - self.first_tile[axis]
            touched.append((place >= 0) & (place < self.num_tiles[axis]))
            inside.append(
                (tile * TILE >= self.start[axis])
                & ((tile + 1) * TILE <= self.end[axis])
            )
        is_touched = touched[0][:, tf.newaxis] & touched[1]
        return is_touched, is_touched & inside[0][:, tf.newaxis] & inside[1]


def find_region(box: tf.Tensor, valid_size: tf.Tensor) -> Region:
    """Finds the pixels whose centers lie in a box.

    Args:
        box: float32 [4], (y1, x1, y2, x2) in pixels; it may reach beyond the
            image. Boxes without area or with NaN contain no pixels.
        valid_size: int32 [2], height and width of the part that is image.
    """
    limit = tf.cast(valid_size, tf.float32)
    is_there = tf.reduce_all(box == box)
    box = tf.where(is_there, box, 0.0)
    start = tf.clip_by_value(tf.math.ceil(box[:2] - 0.5), 0.0, limit)
    end = tf.clip_by_value(tf.floor(box[2:] - 0.5) + 1.0, 0.0, limit)
    is_there &= tf.reduce_all(end > start)
    start, end = tf.cast(start, tf.int32), tf.cast(end, tf.int32)
    first = start // TILE
    last = compilation.ceil_divide(end, TILE)
    return Region(start, end, first, tf.where(is_there, last - first, 0))


class Axis(NamedTuple):
    """Places where the pixels of a tile read along an axis of a map.

    Attributes:
        lower: int32 [T], ascending.
        fraction: float32 [T] in 0..1, the weight of the next place.
        reach: Most places that the pixels of one tile read.
    """

    lower: tf.Tensor
    fraction: tf.Tensor
    reach: Size


def frame_axis(
    frame: tf.Tensor,
    tile: tf.Tensor,
    axis: int,
    number: Size,
    reach: "Size | None" = None,
) -> Axis:
    """Finds the places that a tile reads in a map that fills a frame.

    Half-pixel centers: each value of the map is in the middle of its part of
    the frame.

    Args:
        frame: float32 [4], (y1, x1, y2, x2) in pixels.
        tile: int32 [2], row and column of the tile.
        axis: 0 for rows, 1 for columns.
        number: Size of the map along the axis.
        reach: See `Axis`. If None, all places.
    """
    pixel = tile[axis] * TILE + tf.range(TILE)
    place = _find_places(frame, pixel, axis, number)
    lower = tf.floor(place)
    return Axis(
        tf.cast(lower, tf.int32),
        place - lower,
        number if reach is None else _smaller(reach, number),
    )


def _find_places(
    frame: tf.Tensor, pixel: tf.Tensor, axis: int, number: Size
) -> tf.Tensor:
    """Finds the places where pixels, int32 [n], read: float32 [n]."""
    start, end = frame[axis], frame[axis + 2]
    extent = tf.where(end > start, end - start, 1.0)
    # A product: exact where map and frame are of one size.
    scale = tf.cast(number, tf.float32) / extent
    center = tf.cast(pixel, tf.float32) + 0.5
    place = exact_floats.rounded((center - start) * scale) - 0.5
    return tf.clip_by_value(place, 0.0, tf.cast(number - 1, tf.float32))


class TileAxis(NamedTuple):
    """Ranges of places that whole tiles read along an axis of a map.

    Attributes:
        first: int32 [tiles], the first place.
        last: int32 [tiles], the last place.
    """

    first: tf.Tensor
    last: tf.Tensor


def frame_tiles(
    frame: tf.Tensor, tiles: Size, axis: int, number: Size
) -> TileAxis:
    """Finds the places that each tile reads in a map that fills a frame.

    Args:
        frame: As in `frame_axis`.
        tiles: Number of tiles along the axis.
        axis: As in `frame_axis`.
        number: As in `frame_axis`.
    """
    # Places rise with the pixels: those of the first and last are bounds.
    pixel = tf.range(tiles) * TILE
    first, last = (
        tf.cast(_find_places(frame, end, axis, number), tf.int32)
        for end in (pixel, pixel + TILE - 1)
    )
    return TileAxis(first, tf.minimum(last + 1, number - 1))


class Grid(NamedTuple):
    """Places where pixels read in a map that is aligned by its corners.

    Attributes:
        taps: Taps of all rows and of all columns, beyond the image too.
        reach: Reach in rows and in columns, see `Axis`.
    """

    taps: tuple[upsampling.Taps, upsampling.Taps]
    reach: tuple[Size, Size]

    @classmethod
    def of(cls, source: tuple[Size, Size], grid: TileGrid) -> "Grid":
        """Returns the grid for maps as `upsampling` reads them.

        Args:
            source: (h, w) of the maps.
            grid: The tiles of the image.
        """
        taps, reach = [], []
        for before, after, tiles in zip(
            source,
            (grid.height, grid.width),
            (grid.rows, grid.columns),
            strict=True,
        ):
            pixel = tf.minimum(tf.range(tiles * TILE), after - 1)
            found = upsampling.compute_taps(before, after)
            taps.append(upsampling.Taps(*(tf.gather(x, pixel) for x in found)))
            # Rounded up, with one place for rounding and one for the upper.
            steps = (before - 1) * (TILE - 1) // _larger(after - 1, 1)
            reach.append(_smaller(steps + 4, before))
        return cls((taps[0], taps[1]), (reach[0], reach[1]))

    def axis(self, tile: tf.Tensor, axis: int) -> Axis:
        """Returns the places that a tile, int32 [2], reads along an axis."""
        pixel = tile[axis] * TILE + tf.range(TILE)
        taps = self.taps[axis]
        return Axis(
            tf.gather(taps.lower, pixel),
            tf.gather(taps.fraction, pixel),
            self.reach[axis],
        )

    def tiles(self, axis: int) -> TileAxis:
        """Returns the ranges of places that all tiles read along an axis."""
        lower = tf.reshape(self.taps[axis].lower, [-1, TILE])
        upper = tf.reshape(self.taps[axis].upper, [-1, TILE])
        return TileAxis(lower[:, 0], upper[:, -1])


def bound_tiles(
    maps: tf.Tensor, rows: TileAxis, columns: TileAxis
) -> tf.Tensor:
    """Returns upper bounds of the interpolated values of each tile.

    Args:
        maps: float32 [..., h, w].
        rows: Places that n tiles read.
        columns: Places that m tiles read.

    Returns:
        float32 [..., n, m], rounding included; infinity where nothing is known.
    """
    is_known = (tf.abs(maps) < _LARGEST) | (maps == -np.inf)
    maps = tf.where(is_known, maps, np.inf)
    by_row = _find_highest(maps, rows, axis=-2)
    highest = _find_highest(by_row, columns, axis=-1)
    margin = _MARGIN * (1.0 + tf.abs(highest))
    return tf.where(highest > -np.inf, highest + margin, highest)


def _find_highest(maps: tf.Tensor, tiles: TileAxis, axis: int) -> tf.Tensor:
    """Finds the highest value that each tile reads along an axis."""

    def read(step: tf.Tensor) -> tf.Tensor:
        place = tf.minimum(tiles.first + step, tiles.last)
        return tf.gather(maps, place, axis=axis)

    # One place at a time: XLA does not vectorize reductions of windows.
    _, highest = tf.while_loop(
        lambda step, _: step <= tf.reduce_max(tiles.last - tiles.first),
        lambda step, highest: (step + 1, tf.maximum(highest, read(step))),
        (1, read(tf.constant(0))),
        parallel_iterations=1,
    )
    return highest


def sample(map_hw: tf.Tensor, rows: Axis, columns: Axis) -> tf.Tensor:
    """Interpolates a map at the pixels of a tile, rows first: [T, T].

    Equal in every mode, and to the results of `upsampling`.
    """
    height, width = compilation.sizes(map_hw)
    row = tf.minimum(rows.lower[0], height - rows.reach)
    column = tf.minimum(columns.lower[0], width - columns.reach)
    # Gathered: slices would make XLA compile for each place.
    place = (row + tf.range(rows.reach))[:, tf.newaxis] * width
    place += column + tf.range(columns.reach)
    window = tf.gather(tf.reshape(map_hw, [-1]), place)
    # Else XLA would compute each pixel from the map at each of its uses.
    number = rows.lower[0] + 1
    by_row = compilation.compute_once(
        number,
        # Columns are lines of the transposed map: whole lines are read.
        lambda: tf.transpose(_interpolate(window, rows, row)),
        [columns.reach, TILE],
        tf.float32,
    )
    return compilation.compute_once(
        number,
        lambda: tf.transpose(_interpolate(by_row, columns, column)),
        [TILE, TILE],
        tf.float32,
    )


def _interpolate(lines: tf.Tensor, axis: Axis, first: tf.Tensor) -> tf.Tensor:
    """Interpolates between lines [n, m], those from line `first` on."""
    lower = axis.lower - first
    last = compilation.sizes(lines)[0] - 1
    return upsampling.interpolate(
        tf.gather(lines, lower),
        tf.gather(lines, tf.minimum(lower + 1, last)),
        axis.fraction[:, tf.newaxis],
    )


def cut_tiles(
    map_hw: tf.Tensor, grid: TileGrid, beyond: float = 0.0
) -> tf.Tensor:
    """Cuts a map into tiles: [N, T, T].

    Args:
        map_hw: [H, W].
        grid: The tiles.
        beyond: Value of pixels beyond the image.
    """
    height, width = grid.rows * TILE, grid.columns * TILE
    padded = tf.pad(
        map_hw,
        [[0, height - grid.height], [0, width - grid.width]],
        constant_values=beyond,
    )
    tiles = tf.reshape(padded, [grid.rows, TILE, grid.columns, TILE])
    tiles = tf.transpose(tiles, [0, 2, 1, 3])
    return tf.reshape(tiles, [grid.rows * grid.columns, TILE, TILE])


def _smaller(a: Size, b: Size) -> Size:
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return tf.minimum(a, b)


def _larger(a: Size, b: Size) -> Size:
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return tf.maximum(a, b)
