# SPDX-License-Identifier: Apache-2.0
"""Feature pyramid network, and the semantic branch on it."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from deeplab2_like.model.layers.group_norm import GroupNorm
from deeplab2_like.model.layers.resize import spatial_size
from deeplab2_like.model.layers.upsample import (
    upsample_bilinear,
    upsample_nearest,
)

# Endpoints of a backbone that the pyramid takes, fine to coarse.
ENDPOINTS = ("res2", "res3", "res4", "res5")
LEVELS = ("p2", "p3", "p4", "p5")
COARSEST = "p6"
STRIDES: Mapping[str, int] = {"p2": 4, "p3": 8, "p4": 16, "p5": 32, "p6": 64}

# Uniform with variance 1 / fan-in, "Xavier" in Caffe2.
_XAVIER = {"scale": 1.0, "mode": "fan_in", "distribution": "uniform"}
# Normal with variance 2 / fan-out, "MSRA" in Caffe2.
_MSRA = {
    "scale": 2.0,
    "mode": "fan_out",
    "distribution": "untruncated_normal",
}


def xavier_initializer() -> keras.initializers.Initializer:
    """Returns the initializer of layers without a ReLU behind them."""
    return keras.initializers.VarianceScaling(**_XAVIER)


def msra_initializer() -> keras.initializers.Initializer:
    """Returns the initializer of convolutions with a ReLU behind them."""
    return keras.initializers.VarianceScaling(**_MSRA)


@keras.saving.register_keras_serializable("deeplab2_like")
class FeaturePyramid(keras.layers.Layer):
    """Features of the same width at strides 4 to 64.

    Lin et al., CVPR 2017 (arXiv:1612.03144), as detectron2: lateral 1x1
    convolutions, the coarser level added by repetition, 3x3 convolutions; no
    normalization. The coarsest level is every second pixel of the one before.

    Args:
        filters: Channels of each level.
    """

    def __init__(self, filters: int = 256, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self._lateral = {
            level: self._make(1, f"lateral_{level}") for level in LEVELS
        }
        self._output = {
            level: self._make(3, f"output_{level}") for level in LEVELS
        }

    def _make(self, kernel_size: int, name: str) -> keras.layers.Conv2D:
        return keras.layers.Conv2D(
            self.filters,
            kernel_size,
            padding="same",
            kernel_initializer=xavier_initializer(),
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, input_shape):
        """Makes the variables for shapes [B, h, w, C] of `ENDPOINTS`."""
        for endpoint, level in zip(ENDPOINTS, LEVELS, strict=True):
            channels = input_shape[endpoint][-1]
            self._lateral[level].build((None, None, None, channels))
            self._output[level].build((None, None, None, self.filters))

    def call(self, inputs):
        """Returns {"p2": float [B, h, w, filters], ..., "p6": ...}.

        Args:
            inputs: float [B, h, w, C] of each of `ENDPOINTS`; others are
                ignored.
        """
        outputs: dict[str, tf.Tensor] = {}
        above = None
        pairs = list(zip(ENDPOINTS, LEVELS, strict=True))
        for endpoint, level in reversed(pairs):
            x = self._lateral[level](inputs[endpoint])
            if above is not None:
                x += upsample_nearest(above, level_size(x))
            outputs[level] = self._output[level](x)
            above = x
        outputs[COARSEST] = outputs[LEVELS[-1]][:, ::2, ::2]
        return {level: outputs[level] for level in (*LEVELS, COARSEST)}

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {"filters": self.filters}


class SummedLevels(keras.layers.Layer):
    """Base of branches that sum the levels of a pyramid at stride 4.

    Kirillov et al., "Panoptic Feature Pyramid Networks" (arXiv:1901.02446),
    section 3.1, as detectron2: each level is upsampled to stride 4 step by
    step, with a convolution before each step.

    Args:
        filters: Channels of the convolutions.
        groups: Number of groups of the group normalization.
    """

    def __init__(self, filters: int, groups: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.groups = groups
        self._steps = {
            level: [
                self._make_step(f"{level}_{number}")
                for number in range(max(1, index))
            ]
            for index, level in enumerate(LEVELS)
        }

    def _make_step(self, name: str) -> tuple[keras.layers.Layer, ...]:
        conv = keras.layers.Conv2D(
            self.filters,
            3,
            padding="same",
            use_bias=False,
            kernel_initializer=msra_initializer(),
            dtype=self.dtype_policy,
            name=f"{name}_conv",
        )
        norm = GroupNorm(
            self.groups, dtype=self.dtype_policy, name=f"{name}_norm"
        )
        return conv, norm

    def build_steps(self, input_shape) -> None:
        """Makes the variables for shapes [B, h, w, C] of `LEVELS`."""
        inner = (None, None, None, self.filters)
        for level in LEVELS:
            channels = input_shape[level][-1]
            shape = (None, None, None, channels)
            for conv, norm in self._steps[level]:
                conv.build(shape)
                norm.build(inner)
                shape = inner

    def sum_levels(self, inputs) -> tf.Tensor:
        """Returns float [B, h, w, filters] at the size of level p2."""
        total = None
        for index, level in enumerate(LEVELS):
            x = inputs[level]
            for number, (conv, norm) in enumerate(self._steps[level]):
                x = tf.nn.relu(norm(conv(x)))
                if index:
                    finer = inputs[LEVELS[index - number - 1]]
                    x = upsample_bilinear(x, level_size(finer))
            total = x if total is None else total + x
        return total

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "filters": self.filters,
            "groups": self.groups,
        }


@keras.saving.register_keras_serializable("deeplab2_like")
class SemanticBranch(SummedLevels):
    """Class logits at stride 4 from the levels of a pyramid.

    Args:
        num_channels: Number of logits of a pixel.
        filters: Channels of the convolutions.
        groups: Number of groups of the group normalization.
    """

    def __init__(
        self,
        num_channels: int,
        filters: int = 128,
        *,
        groups: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(filters, groups, **kwargs)
        self.num_channels = num_channels
        self.last_layer = keras.layers.Conv2D(
            num_channels,
            1,
            kernel_initializer=msra_initializer(),
            dtype="float32",
            name="last",
        )

    def build(self, input_shape):
        """Makes the variables for shapes [B, h, w, C] of `LEVELS`."""
        self.build_steps(input_shape)
        self.last_layer.build((None, None, None, self.filters))

    def call(self, inputs):
        """Returns float32 [B, h, w, num_channels] at the size of level p2.

        Args:
            inputs: float [B, h, w, C] of each of `LEVELS`.
        """
        return self.last_layer(tf.cast(self.sum_levels(inputs), tf.float32))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {"num_channels": self.num_channels}


def level_size(x_bhwc: tf.Tensor) -> Sequence[int | tf.Tensor]:
    """Returns (height, width), Python numbers where they are known."""
    size = spatial_size(x_bhwc)
    return size if isinstance(size, tuple) else tf.unstack(size)
