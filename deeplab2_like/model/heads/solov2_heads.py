# SPDX-License-Identifier: Apache-2.0
"""The heads of SOLOv2: a class and a kernel for each cell of several grids.

Wang et al., "SOLOv2" (arXiv:2003.10152). An image is divided into S x S grid
cells, for several S. For the object whose center is in it, a grid cell predicts
the class, and the kernel of the 1x1 convolution that computes its mask from
features shared by all grid cells.

In reading order: coordinates, the head of the grid cells, the shared features.

B images; C thing classes; E channels of the mask features; G grid cells of all
grids, grid by grid, row by row.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from deeplab2_like.config.solov2_grids import GRIDS
from deeplab2_like.model.decoders.feature_pyramid import (
    COARSEST,
    LEVELS,
    STRIDES,
    SummedLevels,
    level_size,
    msra_initializer,
)
from deeplab2_like.model.layers.group_norm import GroupNorm
from deeplab2_like.model.layers.resize import resize_half_pixel

# Initial probability of each class in a grid cell.
_PRIOR = 0.01


def append_coordinates(x_bhwc: tf.Tensor) -> tf.Tensor:
    """Appends x and y, from -1 to 1 over the map: float [B, h, w, C + 2].

    CoordConv (Liu et al., arXiv:1807.03247). A side of one pixel is at -1.
    """
    height, width = level_size(x_bhwc)
    batch = tf.shape(x_bhwc)[0]
    y, x = (
        tf.cast(tf.linspace(-1.0, 1.0, side), x_bhwc.dtype)
        for side in (height, width)
    )
    shape = [batch, height, width, 1]
    return tf.concat(
        [
            x_bhwc,
            tf.broadcast_to(x[:, tf.newaxis], shape),
            tf.broadcast_to(y[:, tf.newaxis, tf.newaxis], shape),
        ],
        axis=-1,
    )


def _normal() -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=0.01)


@keras.saving.register_keras_serializable("deeplab2_like")
class GridHead(keras.layers.Layer):
    """Class logits and a kernel of each grid cell.

    Two towers of convolutions, shared by all grids; that of the kernels also
    takes coordinates. Grid n takes level n of the pyramid, of which the finest
    is halved and the coarsest enlarged, so that the strides are 8, 8,
    16, 32 and 32.

    Args:
        num_classes: C, number of thing classes.
        kernel_filters: E, channels of the mask features.
        grids: S of each level.
        filters: Channels of the towers.
        num_convs: Number of convolutions of each tower, at least one.
        groups: Number of groups of the group normalization.
    """

    def __init__(
        self,
        num_classes: int,
        kernel_filters: int = 256,
        *,
        grids: Sequence[int] = GRIDS,
        filters: int = 512,
        num_convs: int = 4,
        groups: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if len(grids) != len(STRIDES):
            raise ValueError(
                f"grids has {len(grids)} values - the pyramid has "
                f"{len(STRIDES)} levels, so it needs as many."
            )
        self.num_classes = num_classes
        self.kernel_filters = kernel_filters
        self.grids = tuple(grids)
        self.filters = filters
        self.num_convs = num_convs
        self.groups = groups
        self._class_tower = self._make_tower("class")
        self._kernel_tower = self._make_tower("kernel")
        self.classes = self._make_last(num_classes, "classes")
        self.classes.bias_initializer = keras.initializers.Constant(
            -math.log((1.0 - _PRIOR) / _PRIOR)
        )
        self.kernels = self._make_last(kernel_filters, "kernels")

    def _make_tower(self, name: str) -> list[tuple[keras.layers.Layer, ...]]:
        policy = {"dtype": self.dtype_policy}
        return [
            (
                keras.layers.Conv2D(
                    self.filters,
                    3,
                    padding="same",
                    use_bias=False,
                    kernel_initializer=_normal(),
                    name=f"{name}_{number}_conv",
                    **policy,
                ),
                GroupNorm(self.groups, name=f"{name}_{number}_norm", **policy),
            )
            for number in range(self.num_convs)
        ]

    def _make_last(self, filters: int, name: str) -> keras.layers.Conv2D:
        return keras.layers.Conv2D(
            filters,
            3,
            padding="same",
            kernel_initializer=_normal(),
            dtype="float32",
            name=name,
        )

    def build(self, input_shape):
        """Makes the variables for shapes [B, h, w, channels] of all levels."""
        channels = input_shape[LEVELS[0]][-1]
        inner = (None, None, None, self.filters)
        for tower, more in ((self._class_tower, 0), (self._kernel_tower, 2)):
            shape = (None, None, None, channels + more)
            for conv, norm in tower:
                conv.build(shape)
                norm.build(inner)
                shape = inner
        self.classes.build(inner)
        self.kernels.build(inner)

    def call(self, inputs):
        """Returns logits and kernels of all grid cells.

        Args:
            inputs: float [B, h, w, channels] of each level of a pyramid.

        Returns:
            float32 [B, G, C], class logits; float32 [B, G, E], kernels.
        """
        logits, kernels = [], []
        for x, side in zip(
            self._select_features(inputs), self.grids, strict=True
        ):
            x = resize_half_pixel(append_coordinates(x), (side, side))
            class_feature = self._apply_tower(self._class_tower, x[..., :-2])
            kernel_feature = self._apply_tower(self._kernel_tower, x)
            batch, cells = tf.shape(x)[0], side * side
            for outputs, layer, feature in (
                (logits, self.classes, class_feature),
                (kernels, self.kernels, kernel_feature),
            ):
                y = layer(tf.cast(feature, tf.float32))
                outputs.append(tf.reshape(y, [batch, cells, y.shape[-1]]))
        return tf.concat(logits, axis=1), tf.concat(kernels, axis=1)

    def _select_features(self, levels) -> list[tf.Tensor]:
        """Returns the features of each grid."""
        features = [levels[name] for name in STRIDES]
        features[0] = resize_half_pixel(features[0], level_size(features[1]))
        coarsest = levels[COARSEST]
        features[-1] = resize_half_pixel(coarsest, level_size(features[-2]))
        return features

    def _apply_tower(self, tower, x: tf.Tensor) -> tf.Tensor:
        for conv, norm in tower:
            x = tf.nn.relu(norm(conv(x)))
        return x

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "num_classes": self.num_classes,
            "kernel_filters": self.kernel_filters,
            "grids": list(self.grids),
            "filters": self.filters,
            "num_convs": self.num_convs,
            "groups": self.groups,
        }


@keras.saving.register_keras_serializable("deeplab2_like")
class MaskFeatureBranch(SummedLevels):
    """Features at stride 4 that the kernels of all grid cells are applied to.

    The levels of the pyramid are summed as in Panoptic FPN; coordinates are
    appended to the coarsest of them, at stride 32.

    Args:
        num_channels: E, channels of the mask features.
        filters: Channels of the convolutions.
        groups: Number of groups of the group normalizations.
    """

    def __init__(
        self,
        num_channels: int = 256,
        filters: int = 128,
        *,
        groups: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(filters, groups, **kwargs)
        self.num_channels = num_channels
        policy = {"dtype": self.dtype_policy}
        self._last_conv = keras.layers.Conv2D(
            num_channels,
            1,
            use_bias=False,
            kernel_initializer=msra_initializer(),
            name="last_conv",
            **policy,
        )
        self._last_norm = GroupNorm(groups, name="last_norm", **policy)

    def build(self, input_shape):
        """Makes the variables for shapes [B, h, w, C] of `LEVELS`."""
        coarse = LEVELS[-1]
        channels = input_shape[coarse][-1] + 2
        self.build_steps({**input_shape, coarse: (None, None, None, channels)})
        self._last_conv.build((None, None, None, self.filters))
        self._last_norm.build((None, None, None, self.num_channels))

    def call(self, inputs):
        """Returns float [B, h, w, num_channels] at the size of level p2.

        Args:
            inputs: float [B, h, w, C] of each of `LEVELS`.
        """
        coarse = LEVELS[-1]
        with_coordinates = append_coordinates(inputs[coarse])
        x = self.sum_levels({**inputs, coarse: with_coordinates})
        return tf.nn.relu(self._last_norm(self._last_conv(x)))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {"num_channels": self.num_channels}


def apply_kernels(
    features_bhwe: tf.Tensor, kernels_bne: tf.Tensor
) -> tf.Tensor:
    """Convolves the shared features with the kernels of N grid cells.

    Args:
        features_bhwe: float [B, h, w, E].
        kernels_bne: float [B, N, E].

    Returns:
        float32 [B, N, h, w], mask logits.
    """
    height, width = level_size(features_bhwe)
    batch, _, filters = tf.unstack(tf.shape(kernels_bne))
    flat = tf.reshape(features_bhwe, [batch, height * width, filters])
    logits = tf.matmul(
        tf.cast(kernels_bne, features_bhwe.dtype), flat, transpose_b=True
    )
    number = kernels_bne.shape[1] or tf.shape(kernels_bne)[1]
    shape = [batch, number, height, width]
    return tf.reshape(tf.cast(logits, tf.float32), shape)
