# SPDX-License-Identifier: Apache-2.0
"""The block of EfficientNet."""

from collections.abc import Mapping
from typing import Any

import keras

from deeplab2_like.model.layers.convolution import (
    ConvBNAct,
    DepthwiseConvBNAct,
)
from deeplab2_like.model.layers.drop_path import DropPath
from deeplab2_like.model.layers.squeeze_excite import SqueezeExcite


@keras.saving.register_keras_serializable("deeplab2_like")
class MBConv(keras.layers.Layer):
    """1x1 expansion, depthwise convolution, channel gates, 1x1 projection.

    MnasNet's block (arXiv:1807.11626).

    Args:
        filters: Output channels.
        expansion: Channels of the depthwise convolution / input channels; 1:
            the 1x1 expansion does not exist.
        depthwise: Arguments of `DepthwiseConvBNAct` (kernel_size, strides,
            dilation_rate, padding) without the activation.
        squeeze_excite: Whether the gates exist, with a quarter of the *input*
            channels inside.
        activation: A key of `ACTIVATIONS`; the gates always have swish.
        residual: Whether the input is added where channels and size agree.
        keep_prob: Probability that the branch is kept in training.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
    """

    def __init__(
        self,
        filters: int,
        expansion: int,
        *,
        depthwise: Mapping[str, Any],
        squeeze_excite: bool = True,
        activation: str = "swish",
        residual: bool = True,
        keep_prob: float = 1.0,
        batch_norm: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._config = {
            "filters": filters,
            "expansion": expansion,
            "depthwise": dict(depthwise),
            "squeeze_excite": squeeze_excite,
            "activation": activation,
            "residual": residual,
            "keep_prob": keep_prob,
            "batch_norm": dict(batch_norm or {}),
        }
        self._options = {"batch_norm": batch_norm, "dtype": self.dtype_policy}
        self.expand: ConvBNAct | None = None
        self.depthwise = DepthwiseConvBNAct(
            **depthwise,
            activation=activation,
            name="depthwise",
            **self._options,
        )
        self.squeeze_excite: SqueezeExcite | None = None
        self.project = ConvBNAct(
            filters, activation="none", name="project", **self._options
        )
        self.drop_path = DropPath(
            keep_prob, dtype=self.dtype_policy, name="drop_path"
        )
        self._adds_input = False

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, H, W, C]."""
        channels = input_shape[-1]
        inner = channels * self._config["expansion"]
        expanded = (None, None, None, inner)
        if inner != channels:
            self.expand = ConvBNAct(
                inner,
                activation=self._config["activation"],
                name="expand",
                **self._options,
            )
            self.expand.build(input_shape)
        self.depthwise.build(expanded)
        if self._config["squeeze_excite"]:
            self.squeeze_excite = SqueezeExcite(
                max(1, channels // 4),
                activation="swish",
                dtype=self.dtype_policy,
                name="squeeze_excite",
            )
            self.squeeze_excite.build(expanded)
        self.project.build(expanded)
        self._adds_input = (
            self._config["residual"]
            and self.depthwise.strides == 1
            and channels == self._config["filters"]
        )
        if self._adds_input:
            self.drop_path.build((None, None, None, channels))

    def call(self, inputs, training=None):
        """Returns float [B, (H-1)//strides+1, (W-1)//strides+1, filters]."""
        x = inputs
        if self.expand is not None:
            x = self.expand(x, training=training)
        x = self.depthwise(x, training=training)
        if self.squeeze_excite is not None:
            x = self.squeeze_excite(x)
        x = self.project(x, training=training)
        if self._adds_input:
            x = self.drop_path(x, training=training) + inputs
        return x

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | self._config
