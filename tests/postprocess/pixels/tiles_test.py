# SPDX-License-Identifier: Apache-2.0
"""Tiles of images of any size: cut, selected and joined."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.postprocess.pixels import tiles

SIZES = [(1, 1), (64, 128), (65, 129), (63, 300), (200, 127), (130, 260)]


def _copy(values, is_active, known):
    """Copies the active tiles of a map; the rest is zero."""
    shape = values.shape if known else [None, None]

    @tf.function(
        input_signature=[
            tf.TensorSpec(shape, tf.int32),
            tf.TensorSpec([None], tf.bool),
        ],
        autograph=False,
    )
    def copy(values, is_active):
        size = values.shape if known else tf.unstack(tf.shape(values), 2)
        grid = tiles.make_grid(tuple(size))
        padded = tiles.pad_small(values, grid)
        return tiles.map_tiles(
            grid,
            is_active,
            lambda y, x: tf.slice(padded, [y, x], [tiles.HEIGHT, tiles.WIDTH]),
            tf.int32,
        )

    return copy(tf.constant(values), tf.constant(is_active)).numpy()


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_all_tiles_together_are_the_map(size, known):
    values = np.arange(1, 1 + size[0] * size[1]).reshape(size)
    grid = tiles.make_grid(size)
    is_active = np.ones(grid.rows * grid.columns, bool)
    actual = _copy(values.astype(np.int32), is_active, known)
    np.testing.assert_array_equal(actual, values)


@pytest.mark.parametrize("size", SIZES)
def test_tiles_that_are_not_active_are_zero(size):
    rng = np.random.default_rng(size[0])
    grid = tiles.make_grid(size)
    is_active = rng.random(grid.rows * grid.columns) < 0.5
    actual = _copy(np.ones(size, np.int32), is_active, True)
    expected = is_active.reshape(grid.rows, grid.columns)
    expected = expected.repeat(tiles.HEIGHT, 0).repeat(tiles.WIDTH, 1)
    np.testing.assert_array_equal(actual, expected[: size[0], : size[1]])


@pytest.mark.parametrize("size", SIZES)
def test_a_tile_is_active_where_a_pixel_of_its_own_is(size):
    grid = tiles.make_grid(size)
    rng = np.random.default_rng(0)
    for _ in range(5):
        y, x = rng.integers(size)
        flags = np.zeros(size, bool)
        flags[y, x] = True
        found = np.nonzero(grid.any_by_tile(tf.constant(flags)))[0]
        tile = y // tiles.HEIGHT * grid.columns + x // tiles.WIDTH
        assert found.tolist() == [tile]
