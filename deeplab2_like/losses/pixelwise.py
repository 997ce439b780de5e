# SPDX-License-Identifier: Apache-2.0
"""Losses of dense predictions: an error per pixel, then a mean over pixels.

Shape suffixes: b batch, h height, w width, c classes or channels.

The definitions are those of deeplab2 (`model/loss/base_loss.py`), in which the
mean is over the pixels whose weighted error is not zero. Pixels that are
predicted exactly therefore do not count in the mean.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from deeplab2_like.losses import class_weights as class_weights_lib

PixelError = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def compute_squared_error(
    prediction_bhwc: tf.Tensor, target_bhwc: tf.Tensor
) -> tf.Tensor:
    """Computes the squared error of each pixel, averaged over the channels.

    Args:
        prediction_bhwc: float [B, H, W, C].
        target_bhwc: float32 [B, H, W, C].

    Returns:
        float32 [B, H, W].
    """
    error = tf.cast(prediction_bhwc, tf.float32) - target_bhwc
    return tf.reduce_mean(tf.square(error), axis=-1)


def compute_absolute_error(
    prediction_bhwc: tf.Tensor, target_bhwc: tf.Tensor
) -> tf.Tensor:
    """Computes the absolute error of each pixel, as `compute_squared_error`."""
    error = tf.cast(prediction_bhwc, tf.float32) - target_bhwc
    return tf.reduce_mean(tf.abs(error), axis=-1)


def compute_mean_of_hardest(
    error_bhw: tf.Tensor, top_k_percent: float
) -> tf.Tensor:
    """Averages the largest errors of each image that are not zero.

    Hard pixel mining: Yang et al., "DeeperLab" (arXiv:1902.05093), section
    3.4. Of H * W errors the round(top_k_percent * H * W) largest are kept,
    computed in float32 and rounded half to even as in deeplab2: 0.1 of 25
    pixels keeps 2. Those of them that are zero do not count in the mean.

    Args:
        error_bhw: float32 [B, H, W], weighted errors, not negative.
        top_k_percent: Share of the pixels, in (0, 1]. 1 keeps all.

    Returns:
        float32 [B]; 0 for an image whose errors are all zero.
    """
    batch = tf.shape(error_bhw)[0]
    error = tf.reshape(error_bhw, [batch, -1])
    if top_k_percent < 1.0:
        num_pixels = tf.cast(tf.shape(error)[1], tf.float32)
        keep = tf.cast(tf.round(top_k_percent * num_pixels), tf.int32)
        static = error_bhw.shape[1:].num_elements()
        if static is not None:  # XLA needs a static number.
            keep = int(np.round(np.float32(top_k_percent) * np.float32(static)))
        error = tf.math.top_k(error, keep, sorted=False).values
    count = tf.reduce_sum(tf.cast(error != 0.0, tf.float32), axis=1)
    return tf.math.divide_no_nan(tf.reduce_sum(error, axis=1), count)


def compute_semantic_loss(
    logits_bhwc: tf.Tensor,
    labels_bhw: tf.Tensor,
    weights_bhw: tf.Tensor,
    *,
    ignore_label: int,
    top_k_percent: float = 1.0,
    class_weights: Sequence[float] | None = None,
) -> tf.Tensor:
    """Computes the softmax cross entropy of the hardest pixels.

    Args:
        logits_bhwc: float [B, H, W, C].
        labels_bhw: int32 [B, H, W], classes, or `ignore_label`, which may be
            a class index too (deeplab2's coco_panoptic: 0).
        weights_bhw: float32 [B, H, W], not negative.
        ignore_label: Pixels of this label do not count.
        top_k_percent: See `compute_mean_of_hardest`.
        class_weights: Factors of `weights_bhw`, one for each class, which so
            decide too which pixels are the hardest; 1 each when None.

    Returns:
        float32 [B].
    """
    is_counted = labels_bhw != ignore_label
    labels = tf.where(is_counted, labels_bhw, 0)
    error = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=labels, logits=tf.cast(logits_bhwc, tf.float32)
    )
    if class_weights is not None:
        weights_bhw *= class_weights_lib.look_up(labels, class_weights)
    weighted = error * tf.where(is_counted, weights_bhw, 0.0)
    return compute_mean_of_hardest(weighted, top_k_percent)


def compute_regression_loss(
    prediction_bhwc: tf.Tensor,
    target_bhwc: tf.Tensor,
    weights_bhw: tf.Tensor,
    *,
    pixel_error: PixelError,
    top_k_percent: float = 1.0,
) -> tf.Tensor:
    """Computes the mean weighted error of a regression.

    Args:
        prediction_bhwc: float [B, H, W, C].
        target_bhwc: float32 [B, H, W, C].
        weights_bhw: float32 [B, H, W], not negative.
        pixel_error: `compute_squared_error` or `compute_absolute_error`.
        top_k_percent: See `compute_mean_of_hardest`.

    Returns:
        float32 [B].
    """
    weighted = pixel_error(prediction_bhwc, target_bhwc) * weights_bhw
    return compute_mean_of_hardest(weighted, top_k_percent)
