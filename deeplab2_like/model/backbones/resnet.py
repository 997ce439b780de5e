# SPDX-License-Identifier: Apache-2.0
"""The ResNet family: stem, then stages of residual blocks, as data.

He et al., arXiv:1512.03385, as in deeplab2: the 3x3 convolution carries the
stride, there is no max pooling (the first block of stage 2 has stride 2), and
the last batch norm of a branch starts at zero.

In reading order: the specification of stages, the plan of strides and rates,
the network, the named variants. The blocks are in `residual_blocks.py`.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from deeplab2_like.model.backbones.residual_blocks import (
    BLOCKS,
    DeepStem,
    ResidualBlock,
    plain_stem,
)


@dataclasses.dataclass(frozen=True)
class StageSpec:
    """One stage.

    Attributes:
        number: 1 to 5; names the endpoints stageN and resN.
        block: key of `residual_blocks.BLOCKS`.
        num_blocks: how many of them.
        filters: output channels of each convolution of a block.
        stride: of the first block, in the classification net.
    """

    number: int
    block: str
    num_blocks: int
    filters: tuple[int, ...]
    stride: int = 2


@dataclasses.dataclass(frozen=True)
class BlockPlan:
    """Stride and rates of one block: arguments of `ResidualBlock`."""

    stride: int
    dilation_rate: int
    next_dilation_rate: int


STEMS: Mapping[str, Callable[..., keras.layers.Layer]] = {
    "conv7": functools.partial(plain_stem, 7),
    "conv3": functools.partial(plain_stem, 3),
    "deep": DeepStem,
}


def plan_stage(
    spec: StageSpec, stride_before: int, output_stride: int
) -> list[BlockPlan]:
    """Gives strides and rates of a stage's blocks.

    A stage whose stride would go beyond `output_stride` keeps the resolution.
    Its first block keeps the rate from before, the later ones dilate by the
    stage's stride more.

    Args:
        spec: the stage.
        stride_before: stride of its input in the classification net.
        output_stride: image size / size of the last feature map.
    """
    stride_after = stride_before * spec.stride
    rate_before = max(1, stride_before // output_stride)
    rate_after = max(1, stride_after // output_stride)
    stride = spec.stride if rate_after == rate_before else 1
    first = BlockPlan(stride, rate_before, rate_after)
    later = BlockPlan(1, rate_after, rate_after)
    return [first] + [later] * (spec.num_blocks - 1)


@keras.saving.register_keras_serializable("deeplab2_like")
class ResNet(keras.Model):
    """A residual network without its classifier, as an encoder.

    Args of the constructor:
        stages: `StageSpec`s, or dictionaries of their fields. Without a stage
            of number 1 the stem's output is stage 1.
        output_stride: 8, 16 or 32.
        stem: key of `STEMS`.
        stem_filters: channels of the stem (of its first convolution).
        batch_norm: keyword arguments of `BatchNorm` (None: its defaults).
    """

    def __init__(
        self,
        stages: Sequence[StageSpec | Mapping[str, Any]],
        output_stride: int = 32,
        *,
        stem: str = "conv7",
        stem_filters: int = 64,
        batch_norm: Mapping[str, Any] | None = None,
        name: str = "backbone",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        if output_stride not in (8, 16, 32):
            raise ValueError(
                f"output_stride is {output_stride} - 8, 16 and 32 are allowed."
            )
        if stem not in STEMS:
            raise ValueError(
                f"stem is {stem!r} - known are {', '.join(STEMS)}."
            )
        self.stage_specs = [
            spec if isinstance(spec, StageSpec) else StageSpec(**spec)
            for spec in stages
        ]
        self.output_stride = output_stride
        self.stem_kind = stem
        self.stem_filters = stem_filters
        self.batch_norm = dict(batch_norm or {})
        self.stem = STEMS[stem](
            stem_filters,
            batch_norm=self.batch_norm,
            dtype=self.dtype_policy,
            name="stem",
        )
        self.stages = []
        stride = 2
        for spec in self.stage_specs:
            self.stages.append(self._make_stage(spec, stride))
            stride *= spec.stride

    def _make_stage(
        self, spec: StageSpec, stride_before: int
    ) -> list[ResidualBlock]:
        plans = plan_stage(spec, stride_before, self.output_stride)
        return [
            BLOCKS[spec.block](
                spec.filters,
                **dataclasses.asdict(plan),
                batch_norm=self.batch_norm,
                dtype=self.dtype_policy,
                name=f"stage{spec.number}_block{number}",
            )
            for number, plan in enumerate(plans, 1)
        ]

    @property
    def output_channels(self) -> dict[str, int]:
        """Channels of each endpoint."""
        channels = {"stage1": self.stem.filters, "res1": self.stem.filters}
        for spec in self.stage_specs:
            channels[f"stage{spec.number}"] = spec.filters[-1]
            channels[f"res{spec.number}"] = spec.filters[-1]
        return channels

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, H, W, C]."""
        self.stem.build(input_shape)
        channels = self.stem.filters
        for blocks in self.stages:
            for block in blocks:
                block.build((None, None, None, channels))
                channels = block.filters[-1]

    def call(self, inputs, training=None):
        """Gives the feature maps.

        Args:
            inputs: float [B, H, W, 3], normalised to -1..1.
            training: batch statistics.

        Returns:
            {"stage1" ... "stage5": float [B, h, w, C] before, "res1" ...
            "res5": after the activation}, strides 2, 4, 8, 16, 32 up to the
            output stride.
        """
        x = self.stem(inputs, training=training)
        activated = tf.nn.relu(x)
        endpoints = {"stage1": x, "res1": activated}
        for spec, blocks in zip(self.stage_specs, self.stages, strict=True):
            for block in blocks:
                x = block(activated, training=training)
                activated = tf.nn.relu(x)
            endpoints[f"stage{spec.number}"] = x
            endpoints[f"res{spec.number}"] = activated
        return endpoints

    def get_config(self) -> dict[str, Any]:
        """Gives the constructor's arguments."""
        stages = [dataclasses.asdict(spec) for spec in self.stage_specs]
        for stage in stages:
            stage["filters"] = list(stage["filters"])
        return super().get_config() | {
            "stages": stages,
            "output_stride": self.output_stride,
            "stem": self.stem_kind,
            "stem_filters": self.stem_filters,
            "batch_norm": dict(self.batch_norm),
        }


def bottleneck_stages(num_blocks: Sequence[int]) -> list[StageSpec]:
    """Gives stages 2 to 5 of the bottleneck nets of the ResNet paper."""
    return [
        StageSpec(number, "bottleneck", count, (width, width, 4 * width))
        for number, count, width in zip(
            (2, 3, 4, 5), num_blocks, (64, 128, 256, 512), strict=True
        )
    ]


def resnet50(output_stride: int = 32, **kwargs: Any) -> ResNet:
    """Gives ResNet-50; the other arguments are those of `ResNet`."""
    return ResNet(bottleneck_stages((3, 4, 6, 3)), output_stride, **kwargs)


def resnet50_beta(output_stride: int = 32, **kwargs: Any) -> ResNet:
    """Gives ResNet-50 with the deep stem."""
    return resnet50(output_stride, stem="deep", **kwargs)


def resnet101(output_stride: int = 32, **kwargs: Any) -> ResNet:
    """Gives ResNet-101."""
    return ResNet(bottleneck_stages((3, 4, 23, 3)), output_stride, **kwargs)


def resnet101_beta(output_stride: int = 32, **kwargs: Any) -> ResNet:
    """Gives ResNet-101 with the deep stem."""
    return resnet101(output_stride, stem="deep", **kwargs)
