# SPDX-License-Identifier: Apache-2.0
"""The ResNet family: stem, then stages of residual blocks, as data.

He et al., arXiv:1512.03385, as in deeplab2: the 3x3 convolution carries the
stride, there is no max pooling (the first block of stage 2 has stride 2), and
the last batch norm of a branch starts at zero. The graphs of other libraries
are options: see `graphs.py`.

In reading order: the network, then its plain variants by name. The wide and
the axial ones are in `wide_resnet.py` and `axial_resnet.py`; stages are
specified and planned in `stages.py`, the blocks are in `residual_blocks.py`.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from deeplab2_like.model.backbones import graphs
from deeplab2_like.model.backbones.residual_blocks import (
    DeepStem,
    call_blocks,
    make_blocks,
    plain_stem,
    pool_stem,
)
from deeplab2_like.model.backbones.stages import (
    BlockOptions,
    StageSpec,
    plan_stage,
)
from deeplab2_like.model.backbones.variation import UNVARIED, Variation

STEMS: Mapping[str, Callable[..., keras.layers.Layer]] = {
    "conv7": functools.partial(plain_stem, 7),
    "conv3": functools.partial(plain_stem, 3),
    "deep": DeepStem,
}

# The stage whose stride a max pooling may have.
_POOLED_STAGE = 2


@keras.saving.register_keras_serializable("deeplab2_like")
class ResNet(keras.Model):
    """A residual network without its classifier, as an encoder.

    Args:
        stages: `StageSpec`s, or dictionaries of their fields. Without a stage
            of number 1 the stem's output is stage 1.
        output_stride: 8, 16 or 32.
        stem: Key of `STEMS`.
        stem_filters: Channels of the stem (of its first convolution).
        graph: A key of `graphs.RESNETS`.
        block_options: `BlockOptions`, or a dictionary of its fields (None:
            its defaults).
        recompute: Whether training keeps only the inputs of blocks for the
            gradients and computes the blocks again, which takes less memory
            and about a third more time.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
    """

    def __init__(
        self,
        stages: Sequence[StageSpec | Mapping[str, Any]],
        output_stride: int = 32,
        *,
        stem: str = "conv7",
        stem_filters: int = 64,
        graph: str = graphs.DEFAULT,
        block_options: BlockOptions | Mapping[str, Any] | None = None,
        recompute: bool = False,
        batch_norm: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**({"name": "backbone"} | kwargs))
        if output_stride not in (8, 16, 32):
            raise ValueError(
                f"output_stride is {output_stride} - 8, 16 and 32 are allowed."
            )
        if stem not in STEMS:
            raise ValueError(
                f"stem is {stem!r} - known are {', '.join(STEMS)}."
            )
        self.stage_specs = [StageSpec.of(spec) for spec in stages]
        self.output_stride = output_stride
        self.stem_kind = stem
        self.stem_filters = stem_filters
        self.graph = graph
        self.block_options = BlockOptions.of(block_options)
        self.recompute = recompute
        self.batch_norm = dict(batch_norm or {})
        self._graph = graphs.graph_of(graph, graphs.RESNETS)
        self.normalize = self._graph.make_normalization(self.dtype_policy)
        options = {
            "batch_norm": self._graph.adapt_batch_norm(batch_norm),
            "dtype": self.dtype_policy,
        }
        self.stem = STEMS[stem](stem_filters, name="stem", **options)
        self.stages = []
        stride = 2
        for spec in map(self._adapt_stage, self.stage_specs):
            if self._is_pooled(spec):
                stride *= 2
            plans = plan_stage(spec, stride, output_stride, self.block_options)
            self.stages.append(
                make_blocks(plans, f"stage{spec.number}", **options)
            )
            stride *= spec.stride

    def _adapt_stage(self, spec: StageSpec) -> StageSpec:
        """Returns a stage as it is in the graph."""
        if self._is_pooled(spec):
            spec = dataclasses.replace(spec, stride=1)
        if self._graph.strides_first and spec.block == "bottleneck":
            spec = dataclasses.replace(spec, block="bottleneck_v1")
        return spec

    def _is_pooled(self, spec: StageSpec) -> bool:
        """Returns whether a max pooling has the stride of a stage."""
        return self._graph.pools_stem and spec.number == _POOLED_STAGE

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
        if self.normalize is not None:
            self.normalize.build(input_shape)
        self.stem.build(input_shape)
        channels = self.stem.filters
        for blocks in self.stages:
            for block in blocks:
                block.build((None, None, None, channels))
                channels = block.filters[-1]

    def call(self, inputs, training=None):
        """Returns the feature maps.

        Args:
            inputs: float [B, H, W, 3], RGB, -1..1.
            training: Batch statistics and drop path.

        Returns:
            {"stage1" ... "stage5": float [B, h, w, C] before, "res1" ...
            "res5": after the activation}, strides 2, 4, 8, 16, 32 up to the
            output stride.
        """
        x = inputs if self.normalize is None else self.normalize(inputs)
        x = self.stem(x, training=training)
        activated = tf.nn.relu(x)
        endpoints = {"stage1": x, "res1": activated}
        for spec, blocks in zip(self.stage_specs, self.stages, strict=True):
            if self._is_pooled(spec):
                activated = pool_stem(activated)
            x, activated = call_blocks(
                blocks, activated, training, recompute=self.recompute
            )
            endpoints[f"stage{spec.number}"] = x
            endpoints[f"res{spec.number}"] = activated
        return endpoints

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "stages": [spec.to_config() for spec in self.stage_specs],
            "output_stride": self.output_stride,
            "stem": self.stem_kind,
            "stem_filters": self.stem_filters,
            "graph": self.graph,
            "block_options": dataclasses.asdict(self.block_options),
            "recompute": self.recompute,
            "batch_norm": dict(self.batch_norm),
        }


def bottleneck_stages(
    num_blocks: Sequence[int], variation: Variation = UNVARIED
) -> list[StageSpec]:
    """Returns stages 2 to 5 of the bottleneck networks of the ResNet paper."""
    stages = []
    for number, count, channels in zip(
        (2, 3, 4, 5),
        variation.scale_counts(num_blocks),
        variation.scale_channels((64, 128, 256, 512)),
        strict=True,
    ):
        filters = (channels, channels, 4 * channels)
        stages.append(StageSpec(number, "bottleneck", count, filters))
    return stages


def _bottleneck_net(
    num_blocks: Sequence[int],
    stem: str,
    output_stride: int,
    variation: Variation,
    **kwargs: Any,
) -> ResNet:
    return ResNet(
        bottleneck_stages(num_blocks, variation),
        output_stride,
        stem=stem,
        stem_filters=variation.scale_stem(64),
        block_options=variation.block_options(drop_path_beyond_stride=16),
        **kwargs,
    )


def resnet50(
    output_stride: int = 32, variation: Variation = UNVARIED, **kwargs: Any
) -> ResNet:
    """Returns ResNet-50; the other arguments are those of `ResNet`."""
    return _bottleneck_net(
        (3, 4, 6, 3), "conv7", output_stride, variation, **kwargs
    )


def resnet50_beta(
    output_stride: int = 32, variation: Variation = UNVARIED, **kwargs: Any
) -> ResNet:
    """Returns ResNet-50 with the deep stem."""
    return _bottleneck_net(
        (3, 4, 6, 3), "deep", output_stride, variation, **kwargs
    )


def resnet101(
    output_stride: int = 32, variation: Variation = UNVARIED, **kwargs: Any
) -> ResNet:
    """Returns ResNet-101."""
    return _bottleneck_net(
        (3, 4, 23, 3), "conv7", output_stride, variation, **kwargs
    )


def resnet101_beta(
    output_stride: int = 32, variation: Variation = UNVARIED, **kwargs: Any
) -> ResNet:
    """Returns ResNet-101 with the deep stem."""
    return _bottleneck_net(
        (3, 4, 23, 3), "deep", output_stride, variation, **kwargs
    )
