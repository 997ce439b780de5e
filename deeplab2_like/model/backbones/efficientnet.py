# SPDX-License-Identifier: Apache-2.0
"""EfficientNet B0 to B7 and EfficientNet-Lite 0 to 4, at any output stride.

Tan and Le, arXiv:1905.11946, table 1. Layer for layer B0 to B7 are the networks
of `keras.applications`, whose weights can be loaded (`keras_files`), with these
differences:

- Strided convolutions pad (k - 1) // 2 zeros on both sides, as everywhere in
  this package, so that size becomes (size - 1) // 2 + 1 and outputs sit on
  input pixels. `keras.applications` does so for odd sizes only; for even (and
  for unknown) sizes it pads one zero less at the top and left, which moves the
  samples by a pixel. Use sizes of 32 k + 1, or padding "same", to compute the
  same.
- Images come scaled to -1..1. The input's normalization, rescaling included, is
  a scale and an offset of each channel in front of the stem. The zeros of the
  padding are added after it, as in Keras.
- Squeeze-and-excite can be left out, and swish be another activation: the
  encoder of EfficientPS (arXiv:2004.02307, 3.1) has neither, but leaky ReLU.

EfficientNet-Lite (tensorflow/tpu, models/official/efficientnet/lite, 2020) are
made for devices: no channel gates, ReLU6, stem and last convolution as wide as
those of B0, the first and the last stage not repeated, images normalized by
(x - 127) / 128. They were trained with padding "same", which is their default.

The endpoints are the outputs of the stages before the resolution falls, and of
the last 1x1 convolution: those of EfficientPS.

In reading order: the tables, the network, the named variants.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras

from deeplab2_like.model.backbones.mb_conv import MBConv
from deeplab2_like.model.backbones.mobilenet_v3 import (
    plan_strides,
    round_to_divisor,
)
from deeplab2_like.model.layers.channel_affine import (
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    ChannelAffine,
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


@dataclasses.dataclass(frozen=True)
class VariantSpec:
    """What distinguishes a variant as published.

    Attributes:
        width: Factor of the channels.
        depth: Factor of the numbers of blocks.
        scales_ends: Whether the factors act on the stem, the last convolution
            and the numbers of blocks of the first and last stage too.
        squeeze_excite: Whether the blocks have channel gates.
        activation: A key of `ACTIVATIONS`.
        padding: A key of `convolution.PADDINGS`.
        mean: RGB values in 0..1 that become 0; see `ChannelAffine`.
        deviation: RGB values in 0..1 that the differences are divided by.
    """

    width: float
    depth: float
    scales_ends: bool = True
    squeeze_excite: bool = True
    activation: str = "swish"
    padding: str = "symmetric"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    deviation: tuple[float, float, float] = IMAGENET_DEVIATION


_lite = functools.partial(
    VariantSpec,
    scales_ends=False,
    squeeze_excite=False,
    activation="relu6",
    padding="same",
    mean=(127 / 255,) * 3,
    deviation=(128 / 255,) * 3,
)
VARIANTS: Mapping[str, VariantSpec] = {
    "b0": VariantSpec(1.0, 1.0),
    "b1": VariantSpec(1.0, 1.1),
    "b2": VariantSpec(1.1, 1.2),
    "b3": VariantSpec(1.2, 1.4),
    "b4": VariantSpec(1.4, 1.8),
    "b5": VariantSpec(1.6, 2.2),
    "b6": VariantSpec(1.8, 2.6),
    "b7": VariantSpec(2.0, 3.1),
    "lite0": _lite(1.0, 1.0),
    "lite1": _lite(1.0, 1.1),
    "lite2": _lite(1.1, 1.2),
    "lite3": _lite(1.2, 1.4),
    "lite4": _lite(1.4, 1.8),
}


@keras.saving.register_keras_serializable("deeplab2_like")
class EfficientNet(keras.Model):
    """EfficientNet without its classifier, as an encoder.

    Args:
        variant: A key of `VARIANTS`: "b0" to "b7", "lite0" to "lite4".
        output_stride: 8, 16 or 32.
        squeeze_excite: Whether the blocks have channel gates (None: as
            published).
        activation: A key of `ACTIVATIONS`; see `MBConv` (None: as published).
        padding: See `ConvBNAct` (None: "symmetric", but "same" for the Lite
            variants).
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
        squeeze_excite: bool | None = None,
        activation: str | None = None,
        padding: str | None = None,
        keep_prob: float = 1.0,
        drop_path_schedule: str = "linear",
        batch_norm: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**({"name": "backbone"} | kwargs))
        _require_one_of("variant", variant, VARIANTS)
        _require_one_of("output_stride", output_stride, (8, 16, 32))
        _require_one_of("drop_path_schedule", drop_path_schedule, SCHEDULES)
        spec = VARIANTS[variant]
        if squeeze_excite is None:
            squeeze_excite = spec.squeeze_excite
        self._config: dict[str, Any] = {
            "variant": variant,
            "output_stride": output_stride,
            "squeeze_excite": squeeze_excite,
            "activation": activation or spec.activation,
            "padding": padding or spec.padding,
            "keep_prob": keep_prob,
            "drop_path_schedule": drop_path_schedule,
            "batch_norm": dict(batch_norm or {}),
        }
        self.output_stride = output_stride
        self._spec = spec
        options = {
            "activation": self._config["activation"],
            "batch_norm": batch_norm,
            "dtype": self.dtype_policy,
        }
        self.normalize = ChannelAffine(
            spec.mean,
            spec.deviation,
            dtype=self.dtype_policy,
            name="normalize",
        )
        self.stem = ConvBNAct(
            self._scaled_end(_STEM_FILTERS),
            3,
            strides=2,
            padding=self._config["padding"],
            name="stem",
            **options,
        )
        self.stages = self._make_stages(options)
        self.top = ConvBNAct(
            self._scaled_end(_TOP_FILTERS), name="top", **options
        )

    def _scaled(self, filters: int) -> int:
        return round_to_divisor(filters * self._spec.width)

    def _scaled_end(self, filters: int) -> int:
        """Returns the channels of the stem or of the last convolution."""
        return self._scaled(filters) if self._spec.scales_ends else filters

    def _count_blocks(self) -> list[int]:
        """Returns the number of blocks of each stage."""
        counts = [math.ceil(s.num_blocks * self._spec.depth) for s in STAGES]
        if not self._spec.scales_ends:
            counts[0] = STAGES[0].num_blocks
            counts[-1] = STAGES[-1].num_blocks
        return counts

    def _make_stages(self, options: Mapping[str, Any]) -> list[list[MBConv]]:
        counts = self._count_blocks()
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
                            "padding": self._config["padding"],
                        },
                        squeeze_excite=self._config["squeeze_excite"],
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
        return channels | {"res5": self._scaled_end(_TOP_FILTERS)}

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
