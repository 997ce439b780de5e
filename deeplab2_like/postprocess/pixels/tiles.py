# SPDX-License-Identifier: Apache-2.0
"""Maps that are computed tile by tile, and only in the tiles that need it.

The image is cut into tiles of HEIGHT x WIDTH pixels. The last ones of a row or
column end with the image and overlap those before them, so that maps are read
without padding. Images smaller than a tile are padded.

H, W: image size; T tiles in raster order.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from deeplab2_like.graph import compilation
from deeplab2_like.graph.compilation import Size

HEIGHT = 64
WIDTH = 128


class Grid(NamedTuple):
    """The tiles of an image of H x W pixels.

    Attributes:
        height: H.
        width: W.
        rows: Number of rows of tiles.
        columns: Number of tiles in a row.
    """

    height: Size
    width: Size
    rows: Size
    columns: Size

    def start(self, tile: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the first row and column of a tile, int32 each."""
        y = tile // self.columns * HEIGHT
        x = tile % self.columns * WIDTH
        return (
            tf.minimum(y, _at_least_zero(self.height - HEIGHT)),
            tf.minimum(x, _at_least_zero(self.width - WIDTH)),
        )

    def any_by_tile(self, flags_hw: tf.Tensor) -> tf.Tensor:
        """Returns which tiles contain a true value.

        Of tiles that overlap, the part belongs to the earlier one.

        Args:
            flags_hw: bool [H, W].

        Returns:
            bool [T].
        """
        padding = [
            [0, self.rows * HEIGHT - self.height],
            [0, self.columns * WIDTH - self.width],
        ]
        flags = tf.reshape(tf.pad(flags_hw, padding), [self.rows, HEIGHT, -1])
        flags = compilation.reduce_middle(flags, tf.logical_or)
        return tf.reduce_any(tf.reshape(flags, [-1, WIDTH]), axis=1)

    def join(self, tiles: tf.Tensor) -> tf.Tensor:
        """Puts tiles [T, HEIGHT, WIDTH] together, [H, W]."""
        whole_rows, whole_columns = self.rows - 1, self.columns - 1
        rest_y = self.height - whole_rows * HEIGHT
        rest_x = self.width - whole_columns * WIDTH
        # The only tile of a small image begins with the image.
        skip_y = _smaller(HEIGHT, self.height) - rest_y
        skip_x = _smaller(WIDTH, self.width) - rest_x
        tiles = tf.reshape(tiles, [self.rows, self.columns, HEIGHT, WIDTH])
        tiles = tf.transpose(tiles, [0, 2, 1, 3])

        upper = tf.reshape(
            tiles[:whole_rows], [whole_rows * HEIGHT, self.columns, WIDTH]
        )
        lower = tf.slice(tiles[whole_rows], [skip_y, 0, 0], [rest_y, -1, WIDTH])
        joined = tf.concat([upper, lower], axis=0)
        left = tf.reshape(
            joined[:, :whole_columns], [self.height, whole_columns * WIDTH]
        )
        right = tf.slice(joined[:, whole_columns], [0, skip_x], [-1, rest_x])
        return tf.concat([left, right], axis=1)


def make_grid(size: tuple[Size, Size]) -> Grid:
    """Makes the tiles of an image of size (H, W)."""
    return Grid(
        *size,
        compilation.ceil_divide(size[0], HEIGHT),
        compilation.ceil_divide(size[1], WIDTH),
    )


def pad_small(values: tf.Tensor, grid: Grid) -> tf.Tensor:
    """Pads a map [..., H, W] with zeros to the size of a tile, if smaller."""
    missing = [
        _at_least_zero(HEIGHT - grid.height),
        _at_least_zero(WIDTH - grid.width),
    ]
    if compilation.are_known_equal(missing, [0, 0]):
        return values
    before = [[0, 0]] * (values.shape.rank - 2)
    return tf.pad(values, before + [[0, number] for number in missing])


def _smaller(a: int, b: Size) -> Size:
    return min(a, b) if isinstance(b, int) else tf.minimum(a, b)


def _at_least_zero(number: Size) -> Size:
    if isinstance(number, int):
        return max(number, 0)
    return tf.maximum(number, 0)


def map_tiles(
    grid: Grid,
    is_active: tf.Tensor,
    compute: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    dtype: tf.DType,
) -> tf.Tensor:
    """Computes some tiles of a map.

    Args:
        grid: The tiles.
        is_active: bool [T]; other tiles are zeros.
        compute: Returns a tile, [HEIGHT, WIDTH], from its first row and column.
        dtype: Type of the map.

    Returns:
        [H, W].
    """
    order, count = compilation.list_true(is_active)

    def visit(
        index: tf.Tensor, order: tf.Tensor, tiles: tf.TensorArray
    ) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray]:
        tile = order[0]
        tiles = tiles.write(tile, compute(*grid.start(tile)))
        # For TensorFlow, the beginnings of slices and all that they depend on
        # are constants, except for variables of a loop: with `order[index]`,
        # inputs would be constants, and each image would be compiled for.
        return index + 1, tf.roll(order, -1, axis=0), tiles

    tiles = tf.TensorArray(
        dtype,
        size=grid.rows * grid.columns,
        element_shape=[HEIGHT, WIDTH],
    )
    _, _, tiles = tf.while_loop(
        lambda index, *_: index < count,
        visit,
        (0, order, tiles),
        parallel_iterations=1,
    )
    return grid.join(tiles.stack())
