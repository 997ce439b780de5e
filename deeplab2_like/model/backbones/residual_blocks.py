# SPDX-License-Identifier: Apache-2.0
"""Stems and residual blocks of the ResNet family.

A block takes activated features and returns the sum of its branch and its
shortcut *before* activation; the network activates it. All kinds have the
same constructor, so that a stage is described by data alone.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from deeplab2_like.model.backbones.stages import BlockPlan
from deeplab2_like.model.layers.axial_attention import AxialAttention2D
from deeplab2_like.model.layers.convolution import ConvBNAct, pad_for_stride
from deeplab2_like.model.layers.drop_path import DropPath
from deeplab2_like.model.layers.recompute import call_recomputed
from deeplab2_like.model.layers.simple_squeeze_excite import (
    SimpleSqueezeExcite,
)
from deeplab2_like.model.layers.switchable_atrous import SwitchableConvBNAct


class ResidualBlock(keras.layers.Layer):
    """Base of the kinds of blocks: configuration, shortcut, sum.

    Args:
        filters: Output channels of each layer of the branch, in order.
        stride: Stride of the block.
        dilation_rate: Dilation rate of the convolution that has the stride.
        next_dilation_rate: Dilation rate of a spatial convolution behind the
            strided one; differs only in the block where the rate changes.
        keep_prob: Probability that the branch is kept in training.
        switchable: Whether 3x3 convolutions are switchable atrous ones.
        squeeze_excite: Whether the branch ends with channel gates.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
    """

    num_layers: int

    def __init__(
        self,
        filters: Sequence[int],
        *,
        stride: int = 1,
        dilation_rate: int = 1,
        next_dilation_rate: int = 1,
        keep_prob: float = 1.0,
        switchable: bool = False,
        squeeze_excite: bool = False,
        batch_norm: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if len(filters) != self.num_layers:
            raise ValueError(
                f"filters is {list(filters)} - the branch of a "
                f"{type(self).__name__} has {self.num_layers} layers."
            )
        self.filters = list(filters)
        self.stride = stride
        self.dilation_rate = dilation_rate
        self.next_dilation_rate = next_dilation_rate
        self.switchable = switchable
        self.batch_norm = dict(batch_norm or {})
        self.branch = self._make_branch()
        self.shortcut: ConvBNAct | None = None
        self.squeeze_excite: SimpleSqueezeExcite | None = None
        if squeeze_excite:
            self.squeeze_excite = SimpleSqueezeExcite(
                dtype=self.dtype_policy, name="squeeze_excite"
            )
        self.drop_path = DropPath(
            keep_prob, dtype=self.dtype_policy, name="drop_path"
        )

    def _conv(self, filters: int, kernel_size: int, name: str, **kwargs: Any):
        conv_class: type[keras.layers.Layer] = ConvBNAct
        if self.switchable and kernel_size > 1:
            conv_class = SwitchableConvBNAct
        return conv_class(
            filters,
            kernel_size,
            batch_norm=self.batch_norm,
            dtype=self.dtype_policy,
            name=name,
            **kwargs,
        )

    def _make_branch(self) -> list[keras.layers.Layer]:
        """Returns the layers of the branch, one after the other."""
        raise NotImplementedError(
            f"{type(self).__name__} has no branch: a residual block overrides "
            "_make_branch."
        )

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, H, W, C]."""
        channels = input_shape[-1]
        if channels != self.filters[-1]:
            self.shortcut = self._conv(
                self.filters[-1],
                1,
                "shortcut",
                strides=self.stride,
                activation="none",
            )
            self.shortcut.build(input_shape)
        for layer, filters in zip(self.branch, self.filters, strict=True):
            layer.build((None, None, None, channels))
            channels = filters
        if self.squeeze_excite is not None:
            self.squeeze_excite.build((None, None, None, channels))
        self.drop_path.build((None, None, None, channels))

    def call(self, inputs, training=None):
        """Returns float [B, (H-1)//stride+1, (W-1)//stride+1, filters[-1]]."""
        x = inputs
        for layer in self.branch:
            x = layer(x, training=training)
        if self.squeeze_excite is not None:
            x = self.squeeze_excite(x)
        x = self.drop_path(x, training=training)
        if self.shortcut is not None:
            return x + self.shortcut(inputs, training=training)
        return x + inputs[:, :: self.stride, :: self.stride]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "filters": list(self.filters),
            "stride": self.stride,
            "dilation_rate": self.dilation_rate,
            "next_dilation_rate": self.next_dilation_rate,
            "keep_prob": self.drop_path.keep_prob,
            "switchable": self.switchable,
            "squeeze_excite": self.squeeze_excite is not None,
            "batch_norm": dict(self.batch_norm),
        }


@keras.saving.register_keras_serializable("deeplab2_like")
class BottleneckBlock(ResidualBlock):
    """1x1 convolution, 3x3 with the stride, 1x1: three values of filters."""

    num_layers = 3

    def _make_branch(self) -> list[keras.layers.Layer]:
        return [
            *self._make_strided(),
            self._conv(
                self.filters[2],
                1,
                "expand",
                activation="none",
                gamma_initializer="zeros",
            ),
        ]

    def _make_strided(self) -> list[keras.layers.Layer]:
        """Returns the first two convolutions, one of which has the stride."""
        return [
            self._conv(self.filters[0], 1, "reduce"),
            self._conv(
                self.filters[1],
                3,
                "spatial",
                strides=self.stride,
                dilation_rate=self.dilation_rate,
            ),
        ]


@keras.saving.register_keras_serializable("deeplab2_like")
class BottleneckV1Block(BottleneckBlock):
    """1x1 convolution with the stride, 3x3, 1x1: three values of filters.

    As first published (arXiv:1512.03385), and in caffe's, `keras.applications`'
    and detectron2's (STRIDE_IN_1X1) networks. The 3x3 convolution is behind the
    stride, and so dilates as the blocks after it do.
    """

    def _make_strided(self) -> list[keras.layers.Layer]:
        return [
            self._conv(self.filters[0], 1, "reduce", strides=self.stride),
            self._conv(
                self.filters[1],
                3,
                "spatial",
                dilation_rate=self.next_dilation_rate,
            ),
        ]


@keras.saving.register_keras_serializable("deeplab2_like")
class BasicBlock(ResidualBlock):
    """3x3 convolution with the stride, 3x3: two values of filters."""

    num_layers = 2

    def _make_branch(self) -> list[keras.layers.Layer]:
        return [
            self._conv(
                self.filters[0],
                3,
                "spatial1",
                strides=self.stride,
                dilation_rate=self.dilation_rate,
            ),
            self._conv(
                self.filters[1],
                3,
                "spatial2",
                dilation_rate=self.next_dilation_rate,
                activation="none",
                gamma_initializer="zeros",
            ),
        ]


@keras.saving.register_keras_serializable("deeplab2_like")
class AxialBlock(ResidualBlock):
    """1x1 convolution, axial attention with the stride, 1x1 convolution.

    Wang et al., "Axial-DeepLab", ECCV 2020, figure 4. Dilation rates have no
    effect: attention covers the whole line. The three values of filters are the
    channels of the first convolution, of the attended values, and of the block.
    """

    num_layers = 3

    def _make_branch(self) -> list[keras.layers.Layer]:
        if self.switchable:
            raise ValueError(
                "switchable is True - an AxialBlock has no 3x3 convolution - "
                "set it to False."
            )
        return [
            self._conv(self.filters[0], 1, "reduce"),
            AxialAttention2D(
                self.filters[1],
                strides=self.stride,
                batch_norm=self.batch_norm,
                dtype=self.dtype_policy,
                name="attention",
            ),
            self._conv(
                self.filters[2],
                1,
                "expand",
                activation="none",
                gamma_initializer="zeros",
            ),
        ]


BLOCKS: Mapping[str, type[ResidualBlock]] = {
    "bottleneck": BottleneckBlock,
    "bottleneck_v1": BottleneckV1Block,
    "basic": BasicBlock,
    "axial": AxialBlock,
}


def make_blocks(
    plans: Sequence[BlockPlan], name: str, **kwargs: Any
) -> list[ResidualBlock]:
    """Returns the blocks of a stage, called NAME_block1, NAME_block2, ...

    Args:
        plans: Plans of the blocks.
        name: Name of the stage.
        **kwargs: Further arguments of each block.
    """
    blocks = []
    for number, plan in enumerate(plans, 1):
        arguments = dataclasses.asdict(plan)
        block_class = BLOCKS[arguments.pop("kind")]
        blocks.append(
            block_class(**arguments, name=f"{name}_block{number}", **kwargs)
        )
    return blocks


def call_blocks(
    blocks: Sequence[ResidualBlock],
    activated: tf.Tensor,
    training: bool | None,
    *,
    recompute: bool = False,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Calls blocks one after the other.

    Args:
        blocks: Built blocks.
        activated: float [B, H, W, C], activated features.
        training: Batch statistics and drop path.
        recompute: See `ResNet`.

    Returns:
        The last block's output, float [B, h, w, C], before and after the
        activation.
    """
    x = activated
    for block in blocks:
        if recompute and training:
            x = call_recomputed(block, activated)
        else:
            x = block(activated, training=training)
        activated = tf.nn.relu(x)
    return x, activated


@keras.saving.register_keras_serializable("deeplab2_like")
class DeepStem(keras.layers.Layer):
    """Three 3x3 convolutions, the first with stride 2, the last wider.

    The last has no activation: the network applies it. deeplab2 calls
    networks with this stem "-beta".

    Args:
        filters: Channels of the first two convolutions; the last has twice as
            many.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
    """

    def __init__(
        self,
        filters: int = 64,
        *,
        batch_norm: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.base_filters = filters
        self.filters = 2 * filters
        self.batch_norm = dict(batch_norm or {})
        options = {"batch_norm": self.batch_norm, "dtype": self.dtype_policy}
        self.convolutions = [
            ConvBNAct(filters, 3, strides=2, name="conv1", **options),
            ConvBNAct(filters, 3, name="conv2", **options),
            ConvBNAct(
                self.filters, 3, activation="none", name="conv3", **options
            ),
        ]

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, H, W, C]."""
        channels = input_shape[-1]
        for layer in self.convolutions:
            layer.build((None, None, None, channels))
            channels = layer.filters

    def call(self, inputs, training=None):
        """Returns float [B, (H-1)//2+1, (W-1)//2+1, 2 * filters]."""
        x = inputs
        for layer in self.convolutions:
            x = layer(x, training=training)
        return x

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "filters": self.base_filters,
            "batch_norm": dict(self.batch_norm),
        }


def pool_stem(inputs: tf.Tensor) -> tf.Tensor:
    """Pools 3x3 pixels with stride 2 behind an activated stem.

    The padding are zeros, one on each side; no activated value is below them.

    Args:
        inputs: float [B, H, W, C], not negative.

    Returns:
        float [B, (H-1)//2+1, (W-1)//2+1, C], maxima.
    """
    padded = pad_for_stride(inputs, 3, 1)
    return tf.nn.max_pool2d(padded, 3, strides=2, padding="VALID")


def plain_stem(kernel_size: int, filters: int, **kwargs: Any) -> ConvBNAct:
    """Returns a stem of one convolution with stride 2, not activated."""
    return ConvBNAct(
        filters, kernel_size, strides=2, activation="none", **kwargs
    )
