# SPDX-License-Identifier: Apache-2.0
"""Atrous spatial pyramid pooling."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from deeplab2_like.model.layers.convolution import ConvBNAct
from deeplab2_like.model.layers.dropout import Dropout
from deeplab2_like.model.layers.resize import (
    resize_align_corners,
    scaled_size,
    spatial_size,
)


def pool_size_of(crop_size: Sequence[int], output_stride: int) -> list[int]:
    """Returns the pooling window [height, width] for a training crop."""
    return [int((side - 1) / output_stride + 1) for side in crop_size]


def average_pool(x_bhwc: tf.Tensor, window: Sequence[int]) -> tf.Tensor:
    """Returns the means over a window that slides by one pixel, unpadded.

    Args:
        x_bhwc: float [B, H, W, C].
        window: (height, width); clipped to the map where that is smaller.

    Returns:
        float [B, H - height + 1, W - width + 1, C].
    """
    height, width = x_bhwc.shape[1:3]
    if height is not None and width is not None:
        clipped = [min(window[0], height), min(window[1], width)]
        if clipped == [height, width]:
            return tf.reduce_mean(x_bhwc, axis=[1, 2], keepdims=True)
        return tf.nn.avg_pool2d(x_bhwc, clipped, 1, "VALID")
    return _average_pool_unknown_size(x_bhwc, window)


def _average_pool_unknown_size(x_bhwc, window):
    """Computes `average_pool` by running sums, for any window and size."""
    sums = tf.cast(x_bhwc, tf.float32)
    count = 1.0
    for axis, side in ((1, window[0]), (2, window[1])):
        size = tf.shape(x_bhwc)[axis]
        side = tf.minimum(side, size)
        padding = [[0, 0]] * 4
        padding[axis] = [1, 0]
        running = tf.pad(tf.cumsum(sums, axis=axis), padding)
        upper = tf.gather(running, tf.range(side, size + 1), axis=axis)
        lower = tf.gather(running, tf.range(0, size - side + 1), axis=axis)
        sums = upper - lower
        count *= tf.cast(side, tf.float32)
    return tf.cast(sums / count, x_bhwc.dtype)


@keras.saving.register_keras_serializable("deeplab2_like")
class ASPP(keras.layers.Layer):
    """Parallel convolutions of several dilation rates and a pooled branch.

    DeepLabv3 (arXiv:1706.05587, 3.3). The branches, in the order of their
    concatenation: 1x1 convolution, one 3x3 convolution for each atrous rate,
    average pooling with 1x1 convolution. A 1x1 convolution joins them, then
    dropout.

    As in deeplab2 the pooling window is that of the training crop, also for
    larger images, over which it slides; unlike there it is clipped to the
    feature map where that is smaller.

    Args:
        filters: Channels of each branch and of the output.
        atrous_rates: Rates of the 3x3 branches (deeplab2: exactly 3).
        pool_size: (height, width) of the pooling window on the feature map,
            or None for the whole map.
        only_projection: Whether a single 1x1 convolution replaces all of it
            (deeplab2: `aspp_use_only_1x1_proj_conv`).
        dropout_rate: Dropout rate of the output in training.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
    """

    def __init__(
        self,
        filters: int,
        atrous_rates: Sequence[int] = (),
        *,
        pool_size: Sequence[int] | None = None,
        only_projection: bool = False,
        dropout_rate: float = 0.1,
        batch_norm: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.atrous_rates = list(atrous_rates)
        self.pool_size = None if pool_size is None else list(pool_size)
        self.only_projection = only_projection
        self.dropout_rate = dropout_rate
        self.batch_norm = dict(batch_norm or {})
        options = {"batch_norm": self.batch_norm, "dtype": self.dtype_policy}
        self.branches = []
        self.pool = None
        self.dropout = None
        self.project = ConvBNAct(filters, 1, name="project", **options)
        if only_projection:
            return
        self.branches.append(ConvBNAct(filters, 1, name="conv1x1", **options))
        for number, rate in enumerate(self.atrous_rates, 1):
            branch = ConvBNAct(
                filters,
                3,
                dilation_rate=rate,
                name=f"atrous{number}",
                **options,
            )
            self.branches.append(branch)
        self.pool = ConvBNAct(filters, 1, name="pool", **options)
        self.dropout = Dropout(
            dropout_rate, dtype=self.dtype_policy, name="dropout"
        )

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, H, W, C]."""
        shape = (None, None, None, input_shape[-1])
        if self.pool is None:
            self.project.build(shape)
            return
        for branch in self.branches:
            branch.build(shape)
        self.pool.build(shape)
        self.dropout.build(shape)
        joined = self.filters * (len(self.branches) + 1)
        self.project.build((None, None, None, joined))

    def call(self, inputs, training=None, image_scale=1.0):
        """Returns the joined branches.

        Args:
            inputs: float [B, H, W, C].
            training: Batch statistics and dropout.
            image_scale: Factor by which the images were enlarged; the pooling
                window is enlarged with them.

        Returns:
            float [B, H, W, filters].
        """
        if self.pool is None:
            return self.project(inputs, training=training)
        outputs = [
            branch(inputs, training=training) for branch in self.branches
        ]
        outputs.append(self._pooled(inputs, training, image_scale))
        x = self.project(tf.concat(outputs, axis=-1), training=training)
        return self.dropout(x, training=training)

    def _pooled(self, inputs, training, image_scale):
        if self.pool_size is None:
            x = tf.reduce_mean(inputs, axis=[1, 2], keepdims=True)
        else:
            window = scaled_size(self.pool_size, image_scale)
            x = average_pool(inputs, window)
        x = self.pool(x, training=training)
        return resize_align_corners(x, spatial_size(inputs))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "filters": self.filters,
            "atrous_rates": list(self.atrous_rates),
            "pool_size": self.pool_size,
            "only_projection": self.only_projection,
            "dropout_rate": self.dropout_rate,
            "batch_norm": dict(self.batch_norm),
        }
