# SPDX-License-Identifier: Apache-2.0
"""The decoder: ASPP on the deepest features, then fusion with finer ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from deeplab2_like.model.layers.aspp import ASPP
from deeplab2_like.model.layers.convolution import ConvBNAct, conv_class
from deeplab2_like.model.layers.resize import (
    resize_align_corners,
    spatial_size,
)


@keras.saving.register_keras_serializable("deeplab2_like")
class Decoder(keras.layers.Layer):
    """Decoder from the deepest features to the resolution of finer ones.

    Panoptic-DeepLab (arXiv:1911.10194, 3.2). For each finer level, from deep
    to shallow: the features are resized to it, concatenated with its 1x1
    projection, and fused by one convolution.

    Args:
        feature_key: Backbone endpoint that the ASPP takes.
        low_level: (endpoint, projected channels) of the finer levels, low
            resolution first.
        aspp: Arguments of `ASPP` other than `batch_norm`.
        fusion_channels: Output channels of each fusion.
        fusion_kernel_size: Odd side of the fusion's kernel.
        conv_type: Type of the fusion's convolution,
            "depthwise_separable_conv" or "standard_conv".
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
    """

    def __init__(
        self,
        feature_key: str = "res5",
        low_level: Sequence[tuple[str, int]] = (),
        *,
        aspp: Mapping[str, Any],
        fusion_channels: int = 256,
        fusion_kernel_size: int = 5,
        conv_type: str = "depthwise_separable_conv",
        batch_norm: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.feature_key = feature_key
        self.low_level = [(key, channels) for key, channels in low_level]
        self.aspp_options = dict(aspp)
        self.fusion_channels = fusion_channels
        self.fusion_kernel_size = fusion_kernel_size
        self.conv_type = conv_type
        self.batch_norm = dict(batch_norm or {})
        options = {"batch_norm": self.batch_norm, "dtype": self.dtype_policy}
        self.aspp = ASPP(**self.aspp_options, name="aspp", **options)
        self.projections = []
        self.fusions = []
        for number, (_, channels) in enumerate(self.low_level, 1):
            self.projections.append(
                ConvBNAct(channels, 1, name=f"low_level{number}", **options)
            )
            self.fusions.append(
                conv_class(conv_type)(
                    fusion_channels,
                    fusion_kernel_size,
                    name=f"fusion{number}",
                    **options,
                )
            )

    def build(self, input_shape):
        """Makes the variables for `input_shape` {endpoint: [B, H, W, C]}."""
        self._check_endpoints(input_shape)
        self.aspp.build(input_shape[self.feature_key])
        channels = self.aspp.filters
        levels = zip(
            self.low_level, self.projections, self.fusions, strict=True
        )
        for (key, projected), projection, fusion in levels:
            projection.build(input_shape[key])
            fusion.build((None, None, None, channels + projected))
            channels = self.fusion_channels

    def _check_endpoints(self, endpoints) -> None:
        for key in (self.feature_key, *(key for key, _ in self.low_level)):
            if key not in endpoints:
                raise ValueError(
                    f"{self.name} needs the backbone endpoint {key!r} - "
                    f"there are {', '.join(sorted(endpoints))}."
                )

    @property
    def output_channels(self) -> int:
        """Channels of the decoded features."""
        return self.fusion_channels if self.low_level else self.aspp.filters

    def call(self, inputs, training=None, image_scale=1.0):
        """Returns the decoded features.

        Args:
            inputs: {endpoint: float [B, H, W, C]}.
            training: Batch statistics and dropout.
            image_scale: See `ASPP.call`.

        Returns:
            float [B, h, w, output_channels], (h, w) of the finest level.
        """
        x = self.aspp(
            inputs[self.feature_key],
            training=training,
            image_scale=image_scale,
        )
        levels = zip(
            self.low_level, self.projections, self.fusions, strict=True
        )
        for (key, _), projection, fusion in levels:
            fine = projection(inputs[key], training=training)
            x = resize_align_corners(x, spatial_size(fine))
            x = fusion(tf.concat([x, fine], axis=-1), training=training)
        return x

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "feature_key": self.feature_key,
            "low_level": [list(level) for level in self.low_level],
            "aspp": dict(self.aspp_options),
            "fusion_channels": self.fusion_channels,
            "fusion_kernel_size": self.fusion_kernel_size,
            "conv_type": self.conv_type,
            "batch_norm": dict(self.batch_norm),
        }
