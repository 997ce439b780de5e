# SPDX-License-Identifier: Apache-2.0
import numpy as np
import tensorflow as tf

from deeplab2_like.model.layers import activations


def test_hard_swish_has_its_known_values():
    x = tf.constant([-4.0, -3.0, -1.5, 0.0, 1.5, 3.0, 4.0])
    expected = [0.0, 0.0, -0.375, 0.0, 1.125, 3.0, 4.0]
    np.testing.assert_allclose(activations.hard_swish(x), expected, atol=1e-6)


def test_hard_sigmoid_has_its_known_values():
    x = tf.constant([-4.0, -3.0, -1.5, 0.0, 3.0, 4.0])
    expected = [0.0, 0.0, 0.25, 0.5, 1.0, 1.0]
    np.testing.assert_allclose(activations.hard_sigmoid(x), expected, atol=1e-6)


def test_leaky_relu_keeps_a_hundredth_of_negative_numbers():
    x = tf.constant([-100.0, -1.0, 0.0, 2.0])
    y = activations.activation_of("leaky_relu")(x)
    np.testing.assert_allclose(y, [-1.0, -0.01, 0.0, 2.0], rtol=1e-6)
