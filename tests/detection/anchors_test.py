# SPDX-License-Identifier: Apache-2.0
"""Anchors of a feature map."""

import numpy as np
import tensorflow as tf

from deeplab2_like.detection import anchors


def test_anchors_stand_on_the_pixels_of_the_map_and_keep_their_area():
    made = anchors.make_anchors((2, 3), 8, [32], [0.5, 1.0, 2.0]).numpy()
    assert made.shape == (2 * 3 * 3, 4)
    centers = (made[:, :2] + made[:, 2:]) / 2
    expected = [(8 * y, 8 * x) for y in range(2) for x in range(3)]
    np.testing.assert_allclose(centers, np.repeat(expected, 3, axis=0))
    sides = made[:, 2:] - made[:, :2]
    np.testing.assert_allclose(sides.prod(axis=1), 32.0**2, rtol=1e-6)
    ratios = sides[:, 0] / sides[:, 1]
    np.testing.assert_allclose(ratios, np.tile([0.5, 1, 2], 6), rtol=1e-6)


def test_maps_of_unknown_size_give_the_same(run_in):
    def make(size):
        return anchors.make_anchors(tf.unstack(size, 2), 4, [8, 16], [1.0])

    expected = anchors.make_anchors((3, 2), 4, [8, 16], [1.0])
    actual = run_in(make)(tf.constant([3, 2]))
    np.testing.assert_array_equal(actual, expected)
