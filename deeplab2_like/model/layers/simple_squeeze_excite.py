# SPDX-License-Identifier: Apache-2.0
"""Squeeze-and-excitation with a single convolution."""

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("deeplab2_like")
class SimpleSqueezeExcite(keras.layers.Layer):
    """Channel gates by one 1x1 convolution and a hard sigmoid.

    Lee and Park, "CenterMask", CVPR 2020, arXiv:1911.06667, 3.3. deeplab2:
    `SimplifiedSqueezeAndExcite`, which writes the 1/6 of the hard sigmoid as
    0.16667.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gate: keras.layers.Conv2D | None = None

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, H, W, C]."""
        self.gate = keras.layers.Conv2D(
            input_shape[-1],
            1,
            kernel_initializer="variance_scaling",
            dtype=self.dtype_policy,
            name="gate",
        )
        self.gate.build((None, None, None, input_shape[-1]))

    def call(self, inputs):
        """Returns float [B, H, W, C], `inputs` times gates in 0..1."""
        mean_b11c = tf.reduce_mean(inputs, axis=[1, 2], keepdims=True)
        gate_b11c = tf.nn.relu6(self.gate(mean_b11c) + 3.0) * (1.0 / 6.0)
        return inputs * gate_b11c
