# SPDX-License-Identifier: Apache-2.0
"""Squeeze-and-excitation: channel gates from the mean of the whole map."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from deeplab2_like.model.layers.activations import (
    activation_of,
    hard_sigmoid,
)

GATES: Mapping[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "sigmoid": tf.sigmoid,
    "hard_sigmoid": hard_sigmoid,
}


@keras.saving.register_keras_serializable("deeplab2_like")
class SqueezeExcite(keras.layers.Layer):
    """Scales each channel by a gate computed from all channels' means.

    Hu et al., arXiv:1709.01507, with a sigmoid gate. deeplab2's MobileNetV3
    also uses the sigmoid, unlike the paper, torchvision and
    `keras.applications`, which have the hard sigmoid.

    Args:
        reduced_filters: Channels between the two 1x1 convolutions.
        activation: Activation between the convolutions, a key of
            `activations.ACTIVATIONS`.
        gate: Activation behind them, a key of `GATES`.
    """

    def __init__(
        self,
        reduced_filters: int,
        *,
        activation: str = "relu",
        gate: str = "sigmoid",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if gate not in GATES:
            raise ValueError(
                f"gate is {gate!r} - known are {', '.join(GATES)}."
            )
        self.reduced_filters = reduced_filters
        self.activation = activation
        self.gate = gate
        self._activate = activation_of(activation)
        self.reduce = keras.layers.Conv2D(
            reduced_filters,
            1,
            kernel_initializer="he_normal",
            dtype=self.dtype_policy,
            name="reduce",
        )
        self.expand: keras.layers.Conv2D | None = None

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, H, W, C]."""
        channels = input_shape[-1]
        self.expand = keras.layers.Conv2D(
            channels,
            1,
            kernel_initializer="he_normal",
            dtype=self.dtype_policy,
            name="expand",
        )
        self.reduce.build((None, None, None, channels))
        self.expand.build((None, None, None, self.reduced_filters))

    def call(self, inputs):
        """Returns float [B, H, W, C], `inputs` times gates in 0..1."""
        means_b11c = tf.reduce_mean(inputs, axis=[1, 2], keepdims=True)
        hidden = self._activate(self.reduce(means_b11c))
        return inputs * GATES[self.gate](self.expand(hidden))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "reduced_filters": self.reduced_filters,
            "activation": self.activation,
            "gate": self.gate,
        }
