# SPDX-License-Identifier: Apache-2.0
"""The semantic branch of EfficientPS, and its parts.

Mohan and Valada, "EfficientPS" (arXiv:2004.02307), section 3.3. All
convolutions are followed by a batch norm and leaky ReLU, also between the two
halves of separable ones.

In reading order: the base of the parts, the context of coarse levels, two
separable convolutions for the rest, the branch.
"""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from deeplab2_like.model.decoders.feature_pyramid import (
    LEVELS,
    STRIDES,
    level_size,
)
from deeplab2_like.model.layers.convolution import (
    ConvBNAct,
    SeparableConvBNAct,
)
from deeplab2_like.model.layers.upsample import upsample_bilinear

_ACTIVATION = "leaky_relu"
# Name of a convolution -> (height, width) of its dilation, name of its input.
_CELL: Mapping[str, tuple[tuple[int, int], str]] = {
    "rate_1_6": ((1, 6), "input"),
    "rate_1_1": ((1, 1), "rate_1_6"),
    "rate_6_21": ((6, 21), "rate_1_6"),
    "rate_18_15": ((18, 15), "rate_1_6"),
    "rate_6_3": ((6, 3), "rate_18_15"),
}


class _Part(keras.layers.Layer):
    """Base of the branch and its parts: width and batch norm.

    Args:
        filters: Output channels.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
    """

    def __init__(
        self,
        filters: int = 128,
        *,
        batch_norm: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.batch_norm = dict(batch_norm or {})

    def _conv_options(self) -> dict[str, Any]:
        return {
            "activation": _ACTIVATION,
            "batch_norm": self.batch_norm,
            "dtype": self.dtype_policy,
        }

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "filters": self.filters,
            "batch_norm": dict(self.batch_norm),
        }


@keras.saving.register_keras_serializable("deeplab2_like")
class DensePredictionCell(_Part):
    """Context from five dilated convolutions, some in sequence.

    The cell that Chen et al., NeurIPS 2018 (arXiv:1809.04184), found for
    Cityscapes, with separable convolutions.

    Args:
        filters: Output channels; the dilated convolutions have as many channels
            as the input.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
    """

    def __init__(self, filters: int = 128, **kwargs: Any) -> None:
        super().__init__(filters, **kwargs)
        self._convs: dict[str, SeparableConvBNAct] = {}
        self._project = ConvBNAct(
            filters, name="project", **self._conv_options()
        )

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, h, w, C]."""
        channels = input_shape[-1]
        for name, (rate, _) in _CELL.items():
            self._convs[name] = SeparableConvBNAct(
                channels,
                dilation_rate=rate,
                name=name,
                **self._conv_options(),
            )
            self._convs[name].build((None, None, None, channels))
        self._project.build((None, None, None, len(_CELL) * channels))

    def call(self, inputs, training=None):
        """Returns float [B, h, w, filters] of float [B, h, w, C]."""
        features = {"input": inputs}
        for name, (_, source) in _CELL.items():
            features[name] = self._convs[name](
                features[source], training=training
            )
        x = tf.concat([features[name] for name in _CELL], axis=-1)
        return self._project(x, training=training)


@keras.saving.register_keras_serializable("deeplab2_like")
class SeparablePair(_Part):
    """Two separable 3x3 convolutions.

    The large-scale feature extractor; with x2 upsampling behind it, the
    mismatch correction module.

    Args:
        filters: Output channels of both.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
    """

    def __init__(self, filters: int = 128, **kwargs: Any) -> None:
        super().__init__(filters, **kwargs)
        self._convs = [
            SeparableConvBNAct(
                filters, name=f"conv_{number}", **self._conv_options()
            )
            for number in range(2)
        ]

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, h, w, C]."""
        shape = (None, None, None, input_shape[-1])
        for conv in self._convs:
            conv.build(shape)
            shape = (None, None, None, self.filters)

    def call(self, inputs, training=None):
        """Returns float [B, h, w, filters] of float [B, h, w, C]."""
        x = inputs
        for conv in self._convs:
            x = conv(x, training=training)
        return x


@keras.saving.register_keras_serializable("deeplab2_like")
class LevelClassifier(keras.layers.Layer):
    """A 1x1 convolution of all levels together, at the size of the finest.

    Equal to a convolution of the resized and concatenated levels, with the
    same variables, but resizes few logits in place of many features.

    Args:
        num_channels: Number of logits of a pixel.
    """

    def __init__(self, num_channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_channels = num_channels

    def build(self, input_shape):
        """Makes the variables for shapes [B, h, w, C] of `LEVELS`."""
        self.kernel = self.add_weight(
            name="kernel",
            shape=(
                1,
                1,
                sum(input_shape[level][-1] for level in LEVELS),
                self.num_channels,
            ),
            # The published standard deviation grows as classes get fewer: with
            # two, that of the first logits would be 10.
            initializer=keras.initializers.RandomNormal(stddev=0.01),
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.num_channels,), initializer="zeros"
        )

    def call(self, inputs):
        """Returns [B, h, w, num_channels] of float [B, h, w, C] of `LEVELS`."""
        maps = [inputs[level] for level in LEVELS]
        size = level_size(maps[0])
        kernels = tf.split(self.kernel, [x.shape[-1] for x in maps], axis=2)
        finest, *coarse = (
            tf.nn.conv2d(x, kernel, 1, "VALID")
            for x, kernel in zip(maps, kernels, strict=True)
        )
        logits = finest + self.bias
        for level, x in zip(LEVELS[1:], coarse, strict=True):
            factor = STRIDES[level] // STRIDES[LEVELS[0]]
            logits += upsample_bilinear(x, size, factor)
        return logits

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {"num_channels": self.num_channels}


@keras.saving.register_keras_serializable("deeplab2_like")
class ContextBranch(_Part):
    """Class logits at stride 4 from the levels of a pyramid.

    Dense prediction cells process the two coarse levels, pairs of separable
    convolutions the two fine ones. Coarse features are corrected before they
    are added to the fine ones. The sum goes into the fine level only: as in
    the published code, the last convolution takes the outputs of the cells for
    the coarse levels.

    Args:
        num_channels: Number of logits of a pixel.
        filters: Channels that each level has in the last convolution.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
    """

    def __init__(
        self,
        num_channels: int,
        filters: int = 128,
        **kwargs: Any,
    ) -> None:
        super().__init__(filters, **kwargs)
        self.num_channels = num_channels
        options = {"batch_norm": self.batch_norm, "dtype": self.dtype_policy}
        self._context = {
            level: DensePredictionCell(
                filters, name=f"context_{level}", **options
            )
            for level in ("p5", "p4")
        }
        self._detail = {
            level: SeparablePair(filters, name=f"detail_{level}", **options)
            for level in ("p3", "p2")
        }
        # By the level that the corrected features are added to.
        self._correction = {
            level: SeparablePair(filters, name=f"correction_{level}", **options)
            for level in ("p3", "p2")
        }
        self.last_layer = LevelClassifier(
            num_channels, dtype="float32", name="last"
        )

    def build(self, input_shape):
        """Makes the variables for shapes [B, h, w, C] of `LEVELS`."""
        for part in (self._context, self._detail):
            for level, layer in part.items():
                layer.build((None, None, None, input_shape[level][-1]))
        for layer in self._correction.values():
            layer.build((None, None, None, self.filters))
        self.last_layer.build(
            dict.fromkeys(LEVELS, (None, None, None, self.filters))
        )

    def call(self, inputs, training=None):
        """Returns float32 [B, h, w, num_channels] at the size of level p2.

        Args:
            inputs: float [B, h, w, C] of each of `LEVELS`.
            training: Batch statistics.
        """
        sizes = {name: level_size(inputs[name]) for name in LEVELS}
        features = {
            level: layer(inputs[level], training=training)
            for part in (self._context, self._detail)
            for level, layer in part.items()
        }
        coarse = features["p4"] + upsample_bilinear(features["p5"], sizes["p4"])
        for level, layer in self._correction.items():
            corrected = layer(coarse, training=training)
            features[level] += upsample_bilinear(corrected, sizes[level])
            coarse = features[level]
        return self.last_layer(features)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {"num_channels": self.num_channels}
