# SPDX-License-Identifier: Apache-2.0
"""Normalization of images inside a network, as its weights need it."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# ImageNet's RGB values in 0..1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


@keras.saving.register_keras_serializable("deeplab2_like")
class ChannelAffine(keras.layers.Layer):
    """Scales and shifts each channel of the image; not trained.

    New layers normalize -1..1 to a mean and a deviation. The zeros of a
    padding behind the layer are those of normalized images, so that published
    networks are computed exactly at the borders too.

    Args:
        mean: RGB values in 0..1 that become 0.
        deviation: RGB values in 0..1 that the differences are divided by.
    """

    def __init__(
        self,
        mean: Sequence[float] = IMAGENET_MEAN,
        deviation: Sequence[float] = IMAGENET_DEVIATION,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.mean = tuple(mean)
        self.deviation = tuple(deviation)
        self.initial_scale = 0.5 / np.array(self.deviation)
        self.initial_offset = (0.5 - np.array(self.mean)) / self.deviation

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, H, W, 3]."""
        self.scale = self._add("scale", self.initial_scale, input_shape)
        self.offset = self._add("offset", self.initial_offset, input_shape)

    def _add(self, name: str, values: np.ndarray, input_shape):
        return self.add_weight(
            shape=(input_shape[-1],),
            initializer=keras.initializers.Constant(values),
            trainable=False,
            name=name,
        )

    def call(self, inputs):
        """Returns [B, H, W, 3], inputs * scale + offset."""
        scale = tf.cast(self.scale, inputs.dtype)
        return inputs * scale + tf.cast(self.offset, inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "mean": list(self.mean),
            "deviation": list(self.deviation),
        }
