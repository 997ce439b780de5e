# SPDX-License-Identifier: Apache-2.0
"""The nearest center of each vote, against comparing it with all."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.large_images import nearest
from deeplab2_like.postprocess.pixels import centers, grouping


def _draw(seed, size, count):
    """Draws places in raster order, all different."""
    rng = np.random.default_rng(seed)
    place = np.unique(rng.integers(0, size[0] * size[1], count))
    y, x = place // size[1], place % size[1]
    return y.astype(np.int32), x.astype(np.int32), rng


def _find_slowly(y, x, votes_y, votes_x):
    distance = np.sqrt(
        np.square(votes_y[:, None] - y.astype(np.float32))
        + np.square(votes_x[:, None] - x.astype(np.float32))
    )
    assert distance.dtype == np.float32
    return distance.argmin(axis=1)


@pytest.mark.parametrize("count", [1, 2, 8, 9, 60, 700])
@pytest.mark.parametrize("size", [(7, 900), (300, 40), (350, 410)])
def test_the_nearest_is_found(size, count):
    y, x, rng = _draw(count, size, count)
    number = 4000
    votes_y, votes_x = (
        rng.uniform(-60, length + 60, number).astype(np.float32)
        for length in size
    )
    # Halves have many equal distances.
    votes_y[::3], votes_x[::3] = (
        np.round(votes[::3] * 2) / 2 for votes in (votes_y, votes_x)
    )
    votes_y[:20] *= 1e3
    votes_x[10:30] *= -1e3
    found = nearest.CenterGrid(y, x).find_nearest(votes_y, votes_x)
    np.testing.assert_array_equal(found, _find_slowly(y, x, votes_y, votes_x))


def test_centers_in_one_corner_are_found_from_everywhere():
    y, x, rng = _draw(1, (30, 30), 200)
    y, x = y + 3000, x + 3000
    votes_y, votes_x = rng.uniform(0, 3100, (2, 3000)).astype(np.float32)
    found = nearest.CenterGrid(y, x).find_nearest(votes_y, votes_x)
    np.testing.assert_array_equal(found, _find_slowly(y, x, votes_y, votes_x))


def test_pixels_are_grouped_as_in_post_processing():
    """Offsets that are no numbers, and those that lead far away, too."""
    size = (60, 90)
    y, x, rng = _draw(2, size, 40)
    offset = rng.normal(0, 6, (2, *size)).astype(np.float32)
    offset[rng.random(offset.shape) < 0.01] = np.nan
    offset[0, 5, :5] = [np.inf, -np.inf, 1e9, -1e9, 3e38]
    padding = [0, 50 - len(y)]
    expected = grouping.group_pixels(
        centers.Centers(
            tf.constant(np.pad(y, padding)),
            tf.constant(np.pad(x, padding)),
            tf.ones(50),
            tf.constant(len(y)),
        ),
        tf.constant(offset),
        tf.ones(size, tf.bool),
    )
    rows, columns = np.indices(size).astype(np.float32)
    found = nearest.CenterGrid(y, x).find_nearest(
        nearest.vote(rows, offset[0]).ravel(),
        nearest.vote(columns, offset[1]).ravel(),
    )
    np.testing.assert_array_equal(found.reshape(size) + 1, expected)


def test_no_votes_are_none():
    grid = nearest.CenterGrid(np.array([1, 2]), np.array([3, 4]))
    none = np.zeros(0, np.float32)
    assert len(grid.find_nearest(none, none)) == 0
