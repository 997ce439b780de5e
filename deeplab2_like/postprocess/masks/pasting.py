# SPDX-License-Identifier: Apache-2.0
"""Pasting of small masks, each in the frame of its box, into the image.

An image is cut into square tiles, and a mask is drawn into one tile at a
time, only into those that its box touches. Time and memory are in proportion
to the area of the boxes, and no map of the size of the image exists for each
mask.

h, w: size of a mask; K masks; T side of a tile; N tiles in raster order.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from deeplab2_like.graph import compilation, exact_floats
from deeplab2_like.graph.compilation import Size

TILE = 64
# Far more than the rounding of an interpolation between numbers in 0..1.
_MARGIN = 1e-5
# Up to so many tiles are drawn without computing bounds, which is faster.
_FEW_TILES = 16


class TileGrid(NamedTuple):
    """The tiles of an image.

    Attributes:
        height: Height of the image.
        width: Width of the image.
        rows: Number of rows of tiles; the last may reach beyond the image.
        columns: Number of tiles in a row, as with `rows`.
    """

    height: Size
    width: Size
    rows: Size
    columns: Size

    @classmethod
    def of(cls, size: tuple[Size, Size]) -> "TileGrid":
        """Returns the grid for an image of (height, width)."""
        rows, columns = (compilation.ceil_divide(n, TILE) for n in size)
        return cls(*size, rows, columns)

    def locate(self, place: tf.Tensor) -> tf.Tensor:
        """Returns row and column, int32 [2], of a tile in raster order."""
        return tf.stack([place // self.columns, place % self.columns])

    def to_image(self, tiles_ntt: tf.Tensor) -> tf.Tensor:
        """Puts tiles [N, T, T] together: [height, width]."""
        shape = [self.rows, self.columns, TILE, TILE]
        image = tf.transpose(tf.reshape(tiles_ntt, shape), [0, 2, 1, 3])
        image = tf.reshape(image, [self.rows * TILE, self.columns * TILE])
        return image[: self.height, : self.width]


class PlacedMask(NamedTuple):
    """A mask and its place in the image.

    Attributes:
        mask: float32 [h + 2, w + 2], probabilities in 0..1, padded by
            `pad_masks`.
        box: float32 [4], (y1, x1, y2, x2) in pixels, the rectangle that the
            mask without its border fills. It may reach beyond the image.
        valid_size: int32 [2], height and width of the part of the image, at
            the top left, that is drawn into.
        first_tile: int32 [2], row and column of the first tile to draw.
        num_tiles: int32 [2], rows and columns of tiles to draw; 0 if none.
    """

    mask: tf.Tensor
    box: tf.Tensor
    valid_size: tf.Tensor
    first_tile: tf.Tensor
    num_tiles: tf.Tensor


def pad_masks(masks_khw: tf.Tensor) -> tf.Tensor:
    """Adds a border of zeros to masks [K, h, w]: [K, h + 2, w + 2]."""
    return tf.pad(masks_khw, [[0, 0], [1, 1], [1, 1]])


def place_mask(
    mask: tf.Tensor, box: tf.Tensor, valid_size: tf.Tensor
) -> PlacedMask:
    """Finds the tiles that a mask touches.

    Args:
        mask: See `PlacedMask`.
        box: See `PlacedMask`. Boxes without area touch nothing.
        valid_size: See `PlacedMask`.
    """
    limit = tf.cast(valid_size, tf.float32)
    start = tf.clip_by_value(box[:2], 0.0, limit)
    end = tf.clip_by_value(box[2:], 0.0, limit)
    is_there = tf.reduce_all(end > start)
    first = tf.cast(tf.floor(start / TILE), tf.int32)
    last = tf.cast(tf.math.ceil(end / TILE), tf.int32)
    return PlacedMask(
        mask, box, valid_size, first, tf.where(is_there, last - first, 0)
    )


class TileKinds(NamedTuple):
    """How a mask covers each tile of an image.

    Attributes:
        is_covered: bool [N], all pixels belong to the mask.
        is_mixed: bool [N], some pixels may belong to it: it has to be drawn.
            Other tiles are empty.
    """

    is_covered: tf.Tensor
    is_mixed: tf.Tensor


def classify_tiles(
    placed: PlacedMask, grid: TileGrid, threshold: float
) -> TileKinds:
    """Finds how a mask covers the tiles of an image.

    Where all values that a tile reads are above the threshold, or all below,
    so are the pixels that are interpolated between them.

    Args:
        placed: The mask.
        grid: The tiles.
        threshold: As in `draw_tile`.
    """
    is_touched = _are_touched(placed, grid)

    def classify() -> TileKinds:
        mask = placed.mask
        height, width = mask.shape
        rows = _compute_tile_axis(placed, grid.rows, 0, height)
        columns = _compute_tile_axis(placed, grid.columns, 1, width)
        is_whole = rows.is_whole[:, tf.newaxis] & columns.is_whole
        # NaN is neither above nor below.
        mask = tf.where(mask == mask, mask, threshold)
        lowest = _reduce_tiles(mask, rows, columns, tf.reduce_min, np.inf)
        highest = _reduce_tiles(mask, rows, columns, tf.reduce_max, -np.inf)
        is_covered = is_touched & is_whole & (lowest > threshold + _MARGIN)
        is_empty = highest < threshold - _MARGIN
        return TileKinds(is_covered, is_touched & ~is_covered & ~is_empty)

    kinds = tf.cond(
        tf.reduce_prod(placed.num_tiles) > _FEW_TILES,
        classify,
        lambda: TileKinds(tf.zeros_like(is_touched), is_touched),
    )
    return TileKinds(*(tf.reshape(kind, [-1]) for kind in kinds))


def _are_touched(placed: PlacedMask, grid: TileGrid) -> tf.Tensor:
    """Marks the tiles that a box touches: bool [rows, columns]."""
    flags = []
    for axis, number in enumerate((grid.rows, grid.columns)):
        place = tf.range(number) - placed.first_tile[axis]
        flags.append((place >= 0) & (place < placed.num_tiles[axis]))
    return flags[0][:, tf.newaxis] & flags[1]


class _TileAxis(NamedTuple):
    """Values that the tiles read along an axis of a mask.

    Attributes:
        is_read: bool [tiles, padded side of the mask].
        is_whole: bool [tiles], all pixels are in the box and the image.
    """

    is_read: tf.Tensor
    is_whole: tf.Tensor


def _compute_tile_axis(
    placed: PlacedMask, number: Size, axis: int, padded: int
) -> _TileAxis:
    # Places rise with the pixels: those of the first and last are bounds.
    first = tf.range(number) * TILE
    ends = [
        _compute_axis(placed, pixel, axis, padded)
        for pixel in (first, first + TILE - 1)
    ]
    place = tf.range(padded)
    is_read = place >= ends[0].lower[:, tf.newaxis]
    is_read &= place <= ends[1].lower[:, tf.newaxis] + 1
    return _TileAxis(is_read, ends[0].is_inside & ends[1].is_inside)


def _reduce_tiles(
    mask: tf.Tensor,
    rows: _TileAxis,
    columns: _TileAxis,
    reduce: Callable[..., tf.Tensor],
    neutral: float,
) -> tf.Tensor:
    """Reduces the values that each tile reads of a mask: [rows, columns]."""
    by_row = reduce(
        tf.where(rows.is_read[:, :, tf.newaxis], mask, neutral), axis=1
    )
    return reduce(
        tf.where(columns.is_read, by_row[:, tf.newaxis], neutral), axis=2
    )


def find_tile(placed: PlacedMask, number: tf.Tensor) -> tf.Tensor:
    """Returns row and column, int32 [2], of the n-th tile of a mask."""
    columns = tf.maximum(placed.num_tiles[1], 1)
    return placed.first_tile + tf.stack([number // columns, number % columns])


def draw_tile(
    placed: PlacedMask, tile: tf.Tensor, threshold: float
) -> tf.Tensor:
    """Draws a mask into a tile.

    detectron2: paste_masks_in_image. A pixel belongs to the mask if its
    center lies in the box and the mask, interpolated bilinearly there with
    zeros around it, is at least the threshold. Equal in every mode.

    Args:
        placed: The mask.
        tile: int32 [2], row and column of the tile.
        threshold: More than 0.

    Returns:
        bool [T, T].
    """
    mask = placed.mask
    height, width = mask.shape
    first = tile * TILE
    rows = _compute_axis(placed, first[0] + tf.range(TILE), 0, height)
    columns = _compute_axis(placed, first[1] + tf.range(TILE), 1, width)
    # Columns are lines of the transposed mask: whole lines are read at once.
    by_column = _interpolate(tf.transpose(mask), columns)
    values = _interpolate(tf.transpose(by_column), rows)
    is_inside = rows.is_inside[:, tf.newaxis] & columns.is_inside
    return (values >= threshold) & is_inside


class _Axis(NamedTuple):
    """Places where pixels read along an axis of a mask.

    Attributes:
        lower: int32 [n].
        fraction: float32 [n] in 0..1, the weight of the next place.
        is_inside: bool [n], the pixel is in the box and in the valid part.
    """

    lower: tf.Tensor
    fraction: tf.Tensor
    is_inside: tf.Tensor


def _compute_axis(
    placed: PlacedMask, pixel: tf.Tensor, axis: int, padded: int
) -> _Axis:
    """Computes the places where pixels, int32 [n], read along an axis."""
    start, end = placed.box[axis], placed.box[axis + 2]
    center = tf.cast(pixel, tf.float32) + 0.5
    is_inside = (center >= start) & (center <= end)
    is_inside &= pixel < placed.valid_size[axis]
    extent = tf.where(end > start, end - start, 1.0)
    share = (center - start) / extent
    # + 1 for the border, - 0.5 because values stand in the middle of pixels.
    place = exact_floats.rounded(share * float(padded - 2)) + 0.5
    place = tf.clip_by_value(place, 0.0, float(padded - 1))
    lower = tf.minimum(tf.floor(place), float(padded - 2))
    return _Axis(tf.cast(lower, tf.int32), place - lower, is_inside)


def _interpolate(lines: tf.Tensor, axis: _Axis) -> tf.Tensor:
    """Interpolates between lines [n, m]: [T, m]."""
    lower = tf.gather(lines, axis.lower)
    upper = tf.gather(lines, axis.lower + 1)
    step = axis.fraction[:, tf.newaxis] * (upper - lower)
    return lower + exact_floats.rounded(step)


def paste_mask(
    mask_hw: tf.Tensor,
    box: tf.Tensor,
    size: tuple[Size, Size],
    *,
    threshold: float = 0.5,
) -> tf.Tensor:
    """Draws a mask into an image: bool [height, width].

    Args:
        mask_hw: float32 [h, w] in 0..1.
        box: float32 [4], (y1, x1, y2, x2) in pixels.
        size: (height, width) of the image.
        threshold: As in `draw_tile`.
    """
    grid = TileGrid.of(size)
    padded = pad_masks(mask_hw[tf.newaxis])[0]
    placed = place_mask(padded, box, tf.stack(size))

    def draw(
        number: tf.Tensor, tiles: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        tile = find_tile(placed, number)
        drawn = draw_tile(placed, tile, threshold)
        place = tile[0] * grid.columns + tile[1]
        return number + 1, tf.tensor_scatter_nd_update(
            tiles, [[place]], drawn[tf.newaxis]
        )

    _, tiles = tf.while_loop(
        lambda number, _: number < tf.reduce_prod(placed.num_tiles),
        draw,
        (0, tf.zeros([grid.rows * grid.columns, TILE, TILE], tf.bool)),
        parallel_iterations=1,
    )
    return grid.to_image(tiles)
