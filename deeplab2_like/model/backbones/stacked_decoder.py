# SPDX-License-Identifier: Apache-2.0
"""The stacked decoder of MaX-DeepLab: up to stride 4 and down again.

Wang et al., CVPR 2021, arXiv:2012.00759, section 3.2 (the hourglass).

In reading order: the plan, the fusion of features, the decoder.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from deeplab2_like.model.backbones.residual_blocks import (
    ResidualBlock,
    call_blocks,
    make_blocks,
)
from deeplab2_like.model.backbones.stages import (
    BlockOptions,
    StageSpec,
    plan_stage,
)
from deeplab2_like.model.layers.convolution import ConvBNAct
from deeplab2_like.model.layers.resize import (
    resize_align_corners,
    spatial_size,
)

HIGH_RESOLUTION_STRIDE = 4


def decoder_strides(output_stride: int) -> list[int]:
    """Returns the strides of the decoder's stages: 8, 4, 8, 16 for 16."""
    strides = [output_stride // 2]
    while strides[-1] > HIGH_RESOLUTION_STRIDE:
        strides.append(strides[-1] // 2)
    while strides[-1] < output_stride:
        strides.append(strides[-1] * 2)
    return strides


@keras.saving.register_keras_serializable("deeplab2_like")
class ResizedFuse(keras.layers.Layer):
    """Sum of features that are brought to one size and number of channels.

    A feature with other channels than the output's is activated and projected
    (1x1 convolution, batch norm): with stride 2 if that results in the size,
    else followed by bilinear resizing. The sum is activated.

    Args:
        filters: Channels of the output.
        halves: For each feature, whether it has twice the output's resolution.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
    """

    def __init__(
        self,
        filters: int,
        halves: Sequence[bool],
        *,
        batch_norm: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.halves = list(halves)
        self.batch_norm = dict(batch_norm or {})
        self.projections: list[ConvBNAct | None] = []

    def build(self, input_shape):
        """Makes the variables for shapes [B, H, W, C], one a feature."""
        self.projections = []
        for number, (shape, is_halved) in enumerate(
            zip(input_shape, self.halves, strict=True), 1
        ):
            if shape[-1] == self.filters:
                self.projections.append(None)
                continue
            kind = "strided" if is_halved else "resized"
            projection = ConvBNAct(
                self.filters,
                strides=2 if is_halved else 1,
                activation="none",
                batch_norm=self.batch_norm,
                dtype=self.dtype_policy,
                name=f"{kind}{number}",
            )
            projection.build((None, None, None, shape[-1]))
            self.projections.append(projection)

    def call(self, features, size, training=None):
        """Returns the activated sum.

        Args:
            features: List of float [B, h, w, C], not activated.
            size: (height, width) of the output.
            training: Batch statistics.

        Returns:
            float [B, height, width, filters].
        """
        total = 0.0
        for x, projection in zip(features, self.projections, strict=True):
            if projection is not None:
                x = projection(tf.nn.relu(x), training=training)
            if projection is None or projection.strides == 1:
                x = resize_align_corners(x, size)
            total += x
        return tf.nn.relu(total)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "filters": self.filters,
            "halves": list(self.halves),
            "batch_norm": dict(self.batch_norm),
        }


@keras.saving.register_keras_serializable("deeplab2_like")
class StackedDecoder(keras.layers.Layer):
    """An hourglass of fusions and residual blocks behind a wide network.

    Each stage fuses the output of the one before with the features of its own
    stride: those of the encoder, and those of earlier stages of the decoder.

    Args:
        output_stride: Output stride of the encoder, 8, 16 or 32.
        widths: A quarter of the channels at strides 4, 8, 16, 32.
        block_options: `BlockOptions`, or a dictionary of its fields (None:
            its defaults).
        recompute: See `ResNet`.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
    """

    def __init__(
        self,
        output_stride: int,
        widths: Sequence[int] = (64, 128, 256, 512),
        *,
        block_options: BlockOptions | Mapping[str, Any] | None = None,
        recompute: bool = False,
        batch_norm: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.output_stride = output_stride
        self.widths = list(widths)
        self.block_options = BlockOptions.of(block_options)
        self.recompute = recompute
        self.batch_norm = dict(batch_norm or {})
        self.strides = decoder_strides(output_stride)
        self.fusions: list[ResizedFuse] = []
        self.stages: list[list[ResidualBlock]] = []
        before = output_stride
        for number, stride in enumerate(self.strides, 1):
            self._add_stage(number, stride, stride == 2 * before)
            before = stride

    def _add_stage(self, number: int, stride: int, is_halved: bool) -> None:
        """Makes the fusion and the blocks of a stage."""
        options = {"batch_norm": self.batch_norm, "dtype": self.dtype_policy}
        # The lowest resolution is that of the encoder's last stage, whatever
        # its output stride.
        original_stride = 32 if stride == self.output_stride else stride
        channels = 4 * self.widths[(4, 8, 16, 32).index(original_stride)]
        if original_stride >= 16:
            spec = StageSpec(number, "axial", 1, (channels,) * 3, stride=1)
        else:
            spec = StageSpec(number, "basic", 1, (channels,) * 2, stride=1)
        plans = plan_stage(
            spec, original_stride, self.output_stride, self.block_options
        )
        self.stages.append(make_blocks(plans, f"stage{number}", **options))
        already = self.strides[: number - 1].count(stride)
        self.fusions.append(
            ResizedFuse(
                channels,
                [is_halved] + [False] * (1 + already),
                name=f"stage{number}_fuse",
                **options,
            )
        )

    def build(self, input_shape):
        """Makes the variables for {"stage2" ... "stage5": [B, h, w, C]}."""
        by_stride = self._by_stride(input_shape)
        current = input_shape["stage5"]
        for stride, fuse, blocks in zip(
            self.strides, self.fusions, self.stages, strict=True
        ):
            fuse.build([current, *by_stride[stride]])
            current = (None, None, None, fuse.filters)
            for block in blocks:
                block.build(current)
            by_stride[stride].append(current)

    def _by_stride(self, stages: Mapping[str, Any]) -> dict[int, list[Any]]:
        """Returns the last of the encoder's features at each stride."""
        return {
            min(stride, self.output_stride): [stages[f"stage{number}"]]
            for number, stride in ((2, 4), (3, 8), (4, 16), (5, 32))
        }

    def call(self, stages, training=None):
        """Returns the decoded feature at the output stride.

        Args:
            stages: {"stage2" ... "stage5": float [B, h, w, C]}, the encoder's
                features before their activation.
            training: Batch statistics and drop path.

        Returns:
            float [B, h, w, 4 * widths[-1]], activated.
        """
        by_stride = self._by_stride(stages)
        x = stages["stage5"]
        for stride, fuse, blocks in zip(
            self.strides, self.fusions, self.stages, strict=True
        ):
            features = [x, *by_stride[stride]]
            activated = fuse(
                features,
                size=spatial_size(by_stride[stride][0]),
                training=training,
            )
            x, activated = call_blocks(
                blocks, activated, training, recompute=self.recompute
            )
            by_stride[stride].append(x)
        return activated

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "output_stride": self.output_stride,
            "widths": list(self.widths),
            "block_options": dataclasses.asdict(self.block_options),
            "recompute": self.recompute,
            "batch_norm": dict(self.batch_norm),
        }
