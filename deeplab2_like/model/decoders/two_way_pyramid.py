# SPDX-License-Identifier: Apache-2.0
"""Two-way feature pyramid: a top-down and a bottom-up branch."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from deeplab2_like.model.decoders.feature_pyramid import (
    COARSEST,
    ENDPOINTS,
    LEVELS,
    level_size,
)
from deeplab2_like.model.layers.convolution import conv_class
from deeplab2_like.model.layers.upsample import upsample_nearest


@keras.saving.register_keras_serializable("deeplab2_like")
class TwoWayPyramid(keras.layers.Layer):
    """Features of the same width at strides 4 to 64, by two branches.

    Mohan and Valada, "EfficientPS" (arXiv:2004.02307), section 3.2. One branch
    adds the coarser level to the finer one, the other the finer to the
    coarser; each has 1x1 convolutions of its own. Their sum goes through a 3x3
    convolution. Each convolution has a batch norm and leaky ReLU behind it.

    A finer level is made coarser by taking every second pixel: the coarser one
    has its pixels there. The levels of EfficientPS end at stride 32; the one of
    stride 64 is every second pixel of that.

    Args:
        filters: Channels of each level.
        conv_type: Type of the 3x3 convolutions: "depthwise_separable_conv" as
            in the paper, "standard_conv" as in the published code.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
    """

    def __init__(
        self,
        filters: int = 256,
        *,
        conv_type: str = "depthwise_separable_conv",
        batch_norm: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.conv_type = conv_type
        self.batch_norm = dict(batch_norm or {})
        self._down = self._make("standard_conv", 1, "down")
        self._up = self._make("standard_conv", 1, "up")
        self._output = self._make(conv_type, 3, "output")

    def _make(
        self, conv_type: str, kernel_size: int, name: str
    ) -> dict[str, keras.layers.Layer]:
        """Makes a convolution for each level."""
        return {
            level: conv_class(conv_type)(
                self.filters,
                kernel_size,
                activation="leaky_relu",
                batch_norm=self.batch_norm,
                dtype=self.dtype_policy,
                name=f"{name}_{level}",
            )
            for level in LEVELS
        }

    def build(self, input_shape):
        """Makes the variables for shapes [B, h, w, C] of `ENDPOINTS`."""
        for endpoint, level in zip(ENDPOINTS, LEVELS, strict=True):
            shape = (None, None, None, input_shape[endpoint][-1])
            self._down[level].build(shape)
            self._up[level].build(shape)
            self._output[level].build((None, None, None, self.filters))

    def call(self, inputs, training=None):
        """Returns {"p2": float [B, h, w, filters], ..., "p6": ...}.

        Args:
            inputs: float [B, h, w, C] of each of `ENDPOINTS`; others are
                ignored.
            training: Batch statistics.
        """
        pairs = zip(LEVELS, ENDPOINTS, strict=True)
        taps = {level: inputs[endpoint] for level, endpoint in pairs}
        down: dict[str, tf.Tensor] = {}
        above = None
        for level in reversed(LEVELS):
            x = self._down[level](taps[level], training=training)
            if above is not None:
                x += upsample_nearest(above, level_size(x))
            down[level] = above = x
        outputs: dict[str, tf.Tensor] = {}
        below = None
        for level in LEVELS:
            x = self._up[level](taps[level], training=training)
            if below is not None:
                x += below[:, ::2, ::2]
            below = x
            outputs[level] = self._output[level](
                down[level] + x, training=training
            )
        return outputs | {COARSEST: outputs[LEVELS[-1]][:, ::2, ::2]}

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "filters": self.filters,
            "conv_type": self.conv_type,
            "batch_norm": dict(self.batch_norm),
        }
