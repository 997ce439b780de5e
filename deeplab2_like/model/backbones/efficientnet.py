# SPDX-License-Identifier: Apache-2.0
"""EfficientNet B0 to B7, at any output stride.

Tan and Le, arXiv:1905.11946, table 1. Layer for layer the network of
`keras.applications`, whose weights can be loaded (`keras_files`), with these
differences:

- Strided convolutions pad (k - 1) // 2 zeros on both sides, as everywhere in
  this package, so that size becomes (size - 1) // 2 + 1 and outputs sit on
  input pixels. `keras.applications` does so for odd sizes only; for even (and
  for unknown) sizes it pads one zero less at the top and left, which moves the
  samples by a pixel. Use sizes of 32 k + 1 to compute the same.
- Images come scaled to -1..1. The input's normalization, rescaling included, is
  a scale and an offset of each channel in front of the stem. The zeros of the
  padding are added after it, as in Keras.
- Squeeze-and-excite can be left out, and swish be another activation: the
  encoder of EfficientPS (arXiv:2004.02307, 3.1) has neither, but leaky ReLU.

The endpoints are the outputs of the stages before the resolution falls, and of
the last 1x1 convolution: those of EfficientPS.

In reading order: the tables, the normalization, the network, the named
variants.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from deeplab2_like.model.backbones.mb_conv import MBConv
from deeplab2_like.model.backbones.mobilenet_v3 import (
    plan_strides,
    round_to_divisor,
)
from deeplab2_like.model.layers.convolution import ConvBNAct
from deeplab2_like.model.layers.drop_path import SCHEDULES


@dataclasses.dataclass(frozen=True)
class StageSpec:
    """One stage: a row of the paper's table 1."""

    kernel_size: int
    num_blocks: int
    filters: int
    expansion: int
    strides: int


STAGES = (
    StageSpec(3, 1, 16, 1, 1),
    StageSpec(3, 2, 24, 6, 2),
    StageSpec(5, 2, 40, 6, 2),
    StageSpec(3, 3, 80, 6, 2),
    StageSpec(5, 3, 112, 6, 1),
    StageSpec(5, 4, 192, 6, 2),
    StageSpec(3, 1, 320, 6, 1),
)
_STEM_FILTERS = 32
_TOP_FILTERS = 1280
# Endpoint -> stage whose output it is; res5 is that of the last convolution.
_ENDPOINTS = {"res1": 1, "res2": 2, "res3": 3, "res4": 5}
# Factors of widths and of numbers of blocks.
VARIANTS: Mapping[str, tuple[float, float]] = {
    "b0": (1.0, 1.0),
    "b1": (1.0, 1.1),
    "b2": (1.1, 1.2),
    "b3": (1.2, 1.4),
    "b4": (1.4, 1.8),
    "b5": (1.6, 2.2),
    "b6": (1.8, 2.6),
    "b7": (2.0, 3.1),
}
# ImageNet's RGB values in 0..1, to which new networks normalize.
_MEAN = np.array([0.485, 0.456, 0.406])
_DEVIATION = np.array([0.229, 0.224, 0.225])


@keras.saving.register_keras_serializable("deeplab2_like")
class ChannelAffine(keras.layers.Layer):
    """Scales and shifts each channel of the image; not trained.

    New layers normalize -1..1 to ImageNet's mean and deviation.
    """

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, H, W, 3]."""
        self.scale = self._add("scale", 0.5 / _DEVIATION, input_shape)
        self.offset = self._add(
            "offset", (0.5 - _MEAN) / _DEVIATION, input_shape
        )

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


@keras.saving.register_keras_serializable("deeplab2_like")
class EfficientNet(keras.Model):
    """EfficientNet without its classifier, as an encoder.

    Args:
        variant: "b0" to "b7".
        output_stride: 8, 16 or 32.
        squeeze_excite: Whether the blocks have channel gates.
        activation: A key of `ACTIVATIONS`; see `MBConv`.
        keep_prob: Probability that the branch of a block is kept in training,
            behind the last block, 0 < keep_prob <= 1.
        drop_path_schedule: A key of `drop_path.SCHEDULES`; "linear" is the
            paper's.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
    """

    def __init__(
        self,
        variant: str,
        output_stride: int = 32,
        *,
        squeeze_excite: bool = True,
        activation: str = "swish",
        keep_prob: float = 1.0,
        drop_path_schedule: str = "linear",
        batch_norm: Mapping[str, Any] | None = None,
        name: str = "backbone",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        _require_one_of("variant", variant, VARIANTS)
        _require_one_of("output_stride", output_stride, (8, 16, 32))
        _require_one_of("drop_path_schedule", drop_path_schedule, SCHEDULES)
        self._config: dict[str, Any] = {
            "variant": variant,
            "output_stride": output_stride,
            "squeeze_excite": squeeze_excite,
            "activation": activation,
            "keep_prob": keep_prob,
            "drop_path_schedule": drop_path_schedule,
            "batch_norm": dict(batch_norm or {}),
        }
        self.output_stride = output_stride
        self._width, self._depth = VARIANTS[variant]
        options = {"batch_norm": batch_norm, "dtype": self.dtype_policy}
        self.normalize = ChannelAffine(
            dtype=self.dtype_policy, name="normalize"
        )
        self.stem = ConvBNAct(
            self._scaled(_STEM_FILTERS),
            3,
            strides=2,
            activation=activation,
            name="stem",
            **options,
        )
        self.stages = self._make_stages(options)
        self.top = ConvBNAct(
            self._scaled(_TOP_FILTERS),
            activation=activation,
            name="top",
            **options,
        )

    def _scaled(self, filters: int) -> int:
        return round_to_divisor(filters * self._width)

    def _make_stages(self, options: Mapping[str, Any]) -> list[list[MBConv]]:
        counts = [math.ceil(s.num_blocks * self._depth) for s in STAGES]
        strides = [
            spec.strides if number == 0 else 1
            for spec, count in zip(STAGES, counts, strict=True)
            for number in range(count)
        ]
        plan = iter(plan_strides(strides, self.output_stride))
        schedule = functools.partial(
            SCHEDULES[self._config["drop_path_schedule"]],
            self._config["keep_prob"],
        )
        stages, done = [], 0
        for number, (spec, count) in enumerate(
            zip(STAGES, counts, strict=True), 1
        ):
            blocks = []
            for letter in "abcdefghijklmnopqrstuvwxyz"[:count]:
                stride, rate = next(plan)
                blocks.append(
                    MBConv(
                        self._scaled(spec.filters),
                        spec.expansion,
                        depthwise={
                            "kernel_size": spec.kernel_size,
                            "strides": stride,
                            "dilation_rate": rate,
                        },
                        squeeze_excite=self._config["squeeze_excite"],
                        activation=self._config["activation"],
                        residual=spec.strides == 1 or letter != "a",
                        keep_prob=schedule(done / len(strides)),
                        name=f"block{number}{letter}",
                        **options,
                    )
                )
                done += 1
            stages.append(blocks)
        return stages

    @property
    def output_channels(self) -> dict[str, int]:
        """Channels of each endpoint."""
        channels = {
            name: self._scaled(STAGES[number - 1].filters)
            for name, number in _ENDPOINTS.items()
        }
        return channels | {"res5": self._scaled(_TOP_FILTERS)}

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, H, W, C]."""
        self.normalize.build(input_shape)
        self.stem.build(input_shape)
        channels = self.stem.filters
        for spec, blocks in zip(STAGES, self.stages, strict=True):
            for block in blocks:
                block.build((None, None, None, channels))
                channels = self._scaled(spec.filters)
        self.top.build((None, None, None, channels))

    def call(self, inputs, training=None):
        """Returns the feature maps.

        Args:
            inputs: float [B, H, W, 3], RGB, -1..1.
            training: Batch statistics and drop path.

        Returns:
            {"res1" ... "res5": float [B, h, w, C]}, strides 2, 4, 8, 16, 32
            up to the output stride.
        """
        x = self.stem(self.normalize(inputs), training=training)
        by_stage = {}
        for number, blocks in enumerate(self.stages, 1):
            for block in blocks:
                x = block(x, training=training)
            by_stage[number] = x
        endpoints = {
            name: by_stage[number] for name, number in _ENDPOINTS.items()
        }
        return endpoints | {"res5": self.top(x, training=training)}

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | self._config


def _require_one_of(name: str, value: Any, allowed: Any) -> None:
    if value not in allowed:
        raise ValueError(
            f"{name} is {value!r} - known are {', '.join(map(str, allowed))}."
        )


BUILDERS: Mapping[str, Callable[..., EfficientNet]] = {
    f"efficientnet_{variant}": functools.partial(EfficientNet, variant)
    for variant in VARIANTS
}
