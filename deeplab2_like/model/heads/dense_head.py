# SPDX-License-Identifier: Apache-2.0
"""Prediction heads: one convolution, then a 1x1 convolution with bias."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from deeplab2_like.model.layers.convolution import conv_class


@keras.saving.register_keras_serializable("deeplab2_like")
class Head(keras.layers.Layer):
    """Prediction of one task for each pixel, from decoder features.

    Panoptic-DeepLab (arXiv:1911.10194, 3.2). No activation follows. The last
    layer computes and returns float32 under every dtype policy: offsets reach
    hundreds of pixels, which bfloat16 would round to whole pixels and more.

    Args:
        output_channels: Values for each pixel.
        head_channels: Channels between the two convolutions.
        kernel_size: Odd side of the kernel of the first convolution.
        conv_type: Type of the first convolution, "depthwise_separable_conv"
            or "standard_conv".
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
    """

    def __init__(
        self,
        output_channels: int,
        head_channels: int,
        *,
        kernel_size: int = 5,
        conv_type: str = "depthwise_separable_conv",
        batch_norm: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.output_channels = output_channels
        self.head_channels = head_channels
        self.kernel_size = kernel_size
        self.conv_type = conv_type
        self.batch_norm = dict(batch_norm or {})
        self.conv = conv_class(conv_type)(
            head_channels,
            kernel_size,
            batch_norm=self.batch_norm,
            dtype=self.dtype_policy,
            name="conv",
        )
        self.last_layer = keras.layers.Conv2D(
            output_channels,
            1,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.01),
            dtype="float32",
            name="last",
        )

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, h, w, C]."""
        self.conv.build(input_shape)
        self.last_layer.build((None, None, None, self.head_channels))

    def call(self, inputs, training=None):
        """Returns float32 [B, h, w, output_channels] of float [B, h, w, C]."""
        x = self.conv(inputs, training=training)
        return self.last_layer(tf.cast(x, tf.float32))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "output_channels": self.output_channels,
            "head_channels": self.head_channels,
            "kernel_size": self.kernel_size,
            "conv_type": self.conv_type,
            "batch_norm": dict(self.batch_norm),
        }
