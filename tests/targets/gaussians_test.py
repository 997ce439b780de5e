# SPDX-License-Identifier: Apache-2.0
import numpy as np
import tensorflow as tf

from deeplab2_like.targets import gaussians


def _draw(centers, shape, sigma):
    drawn = gaussians.draw_gaussians(
        tf.constant(centers, tf.int64, [len(centers), 2]),
        tf.constant(shape),
        sigma,
    )
    return drawn.numpy().reshape(shape)


def test_no_center_gives_zeros():
    np.testing.assert_array_equal(_draw([], (3, 4), 2.0), np.zeros((3, 4)))


def test_the_largest_of_more_gaussians_than_one_pass_draws():
    rng = np.random.default_rng(0)
    shape, sigma = (40, 60), 1.5
    centers = rng.integers(0, shape, (600, 2))
    reach = int(3 * sigma + 1)
    expected = np.zeros(shape)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for cy, cx in centers:
        near = (abs(y - cy) <= reach) & (abs(x - cx) <= reach)
        value = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * sigma**2))
        expected = np.maximum(expected, np.where(near, value, 0))
    np.testing.assert_allclose(
        _draw(centers, shape, sigma), expected, rtol=1e-6
    )
