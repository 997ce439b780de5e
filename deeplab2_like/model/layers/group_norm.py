# SPDX-License-Identifier: Apache-2.0
"""Group normalization with statistics in float32."""

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("deeplab2_like")
class GroupNorm(keras.layers.Layer):
    """Normalizes each image over height, width and groups of channels.

    Wu and He, arXiv:1803.08494. Unlike batch normalization it is the same in
    training and inference, and for every batch size.

    Args:
        groups: Number of groups, a divisor of the channels.
        epsilon: Number added to the variance.
    """

    def __init__(
        self, groups: int = 32, *, epsilon: float = 1e-5, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.groups = groups
        self.epsilon = epsilon

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, h, w, C]."""
        channels = input_shape[-1]
        if channels % self.groups:
            raise ValueError(
                f"groups is {self.groups} - it must divide the {channels} "
                "channels."
            )
        self.gamma = self.add_weight(
            shape=(channels,),
            initializer="ones",
            autocast=False,
            name="gamma",
        )
        self.beta = self.add_weight(
            shape=(channels,),
            initializer="zeros",
            autocast=False,
            name="beta",
        )

    def call(self, inputs):
        """Returns `inputs`, float [B, h, w, C], normalized."""
        channels = inputs.shape[-1]
        shape = tf.shape(inputs)
        x = tf.cast(inputs, tf.float32)
        size = channels // self.groups
        x = tf.reshape(x, [shape[0], -1, self.groups, size])
        mean, variance = tf.nn.moments(x, axes=[1, 3], keepdims=True)
        scale = tf.cast(self.gamma, tf.float32)
        scale = tf.reshape(scale, [self.groups, size])
        scale *= tf.math.rsqrt(variance + self.epsilon)
        shift = tf.reshape(tf.cast(self.beta, tf.float32), [self.groups, size])
        x = (x - mean) * scale + shift
        outputs = tf.reshape(tf.cast(x, inputs.dtype), shape)
        return tf.ensure_shape(outputs, inputs.shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "groups": self.groups,
            "epsilon": self.epsilon,
        }
