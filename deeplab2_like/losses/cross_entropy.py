# SPDX-License-Identifier: Apache-2.0
"""Cross entropy of pixels, its mean over the pixels of the whole batch."""

import tensorflow as tf


def compute_mean_cross_entropy(
    logits_bhwc: tf.Tensor, labels_bhw: tf.Tensor, *, ignore_label: int
) -> tf.Tensor:
    """Computes the softmax cross entropy, averaged over the batch.

    As Panoptic FPN (arXiv:1901.02446): every pixel that is not ignored counts
    the same, whichever image it is in.

    Args:
        logits_bhwc: float [B, H, W, C].
        labels_bhw: int32 [B, H, W], 0..C-1 or `ignore_label`.
        ignore_label: Pixels of this label do not count.

    Returns:
        float32 [B], whose mean is the loss: the sum of each image times the
        number of images, divided by the pixels of all.
    """
    is_counted = labels_bhw != ignore_label
    error = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=tf.where(is_counted, labels_bhw, 0),
        logits=tf.cast(logits_bhwc, tf.float32),
    )
    error = tf.where(is_counted, error, 0.0)
    return share_over_batch(
        tf.reduce_sum(error, axis=[1, 2]),
        tf.reduce_sum(tf.cast(is_counted, tf.float32), axis=[1, 2]),
    )


def share_over_batch(sum_b: tf.Tensor, count_b: tf.Tensor) -> tf.Tensor:
    """Gives numbers whose mean is the sum over all divided by the count of all.

    Args:
        sum_b: float32 [B].
        count_b: float32 [B].

    Returns:
        float32 [B]; 0 where all counts are 0.
    """
    batch = tf.cast(tf.shape(sum_b)[0], tf.float32)
    total = tf.reduce_sum(count_b)
    return sum_b * tf.math.divide_no_nan(batch, total)
