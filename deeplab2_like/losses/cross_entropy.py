# SPDX-License-Identifier: Apache-2.0
"""Mean cross entropy of all pixels of the batch, or of the hardest ones."""

from collections.abc import Sequence

import tensorflow as tf

from deeplab2_like.losses import class_weights as class_weights_lib


def compute_mean_cross_entropy(
    logits_bhwc: tf.Tensor,
    labels_bhw: tf.Tensor,
    *,
    ignore_label: int,
    class_weights: Sequence[float] | None = None,
) -> tf.Tensor:
    """Computes the softmax cross entropy, averaged over the batch.

    As in Panoptic FPN (arXiv:1901.02446): every pixel that is not ignored has
    the same weight, whichever image it is in.

    Args:
        logits_bhwc: float [B, H, W, C].
        labels_bhw: int32 [B, H, W], 0..C-1 or `ignore_label`.
        ignore_label: Pixels of this label do not count.
        class_weights: Factors of the errors, one for each channel; 1 each
            when None.

    Returns:
        float32 [B], whose mean is the loss: the sum of each image times B,
        divided by the number of pixels that count in all images, whatever
        their weights.
    """
    error, is_counted = _compute_errors(
        logits_bhwc, labels_bhw, ignore_label, class_weights
    )
    return share_over_batch(
        tf.reduce_sum(error, axis=[1, 2]),
        tf.reduce_sum(tf.cast(is_counted, tf.float32), axis=[1, 2]),
    )


def compute_hardest_cross_entropy(
    logits_bhwc: tf.Tensor,
    labels_bhw: tf.Tensor,
    *,
    ignore_label: int,
    share: float,
    class_weights: Sequence[float] | None = None,
) -> tf.Tensor:
    """Computes the softmax cross entropy of the hardest pixels of the batch.

    As in the published code of EfficientPS (arXiv:2004.02307): of the errors
    of all pixels of the batch, the ceil(share * number) largest are averaged.
    Ignored pixels are among these pixels, with the error 0.

    Args:
        logits_bhwc: float [B, H, W, C].
        labels_bhw: int32 [B, H, W], 0..C-1 or `ignore_label`.
        ignore_label: Pixels of this label have no error.
        share: Share of the pixels that are kept, in (0, 1].
        class_weights: Factors of the errors, one for each channel, which so
            decide too which pixels are the hardest; 1 each when None.

    Returns:
        float32 [B], whose mean is the loss.
    """
    error, _ = _compute_errors(
        logits_bhwc, labels_bhw, ignore_label, class_weights
    )
    number = tf.cast(tf.size(error), tf.float64)
    # A share such as 0.2 has no exact binary representation: 0.2 * 10 is more
    # than 2 in some precisions, and must not be rounded up to 3.
    keep = tf.math.ceil(number * share * (1.0 - 1e-9))
    keep = tf.maximum(tf.cast(keep, tf.int32), 1)
    kept = error * weigh_largest(error, keep)
    batch = tf.cast(tf.shape(error)[0], tf.float32)
    total = tf.reduce_sum(kept, axis=[1, 2])
    return total * (batch / tf.cast(keep, tf.float32))


def weigh_largest(values: tf.Tensor, keep: tf.Tensor) -> tf.Tensor:
    """Returns weights with which a weighted sum is that of the largest values.

    Instead of sorting, the smallest value that is kept is found bit by bit.
    Values equal to it share the remaining places in equal parts.

    Args:
        values: float32 [...], none negative or not a number.
        keep: int32 scalar, how many are summed; at least 1, at most all.

    Returns:
        float32 [...]: 1 for values above the smallest kept one, 0 for those
        below it; without gradient.
    """
    values = tf.stop_gradient(values)
    # Floats that are not negative are in the order of their bits.
    bits = tf.bitcast(tf.abs(values), tf.int32)

    def add_bit(step: tf.Tensor, found: tf.Tensor):
        candidate = found + tf.bitwise.left_shift(1, 30 - step)
        return step + 1, tf.where(
            _count(bits >= candidate) >= keep, candidate, found
        )

    _, smallest = tf.while_loop(
        lambda step, _: step < 31, add_bit, (0, 0), parallel_iterations=1
    )
    is_equal = bits == smallest
    left = tf.cast(keep - _count(bits > smallest), tf.float32)
    share = tf.math.divide_no_nan(left, tf.cast(_count(is_equal), tf.float32))
    weight = tf.where(is_equal, share, tf.cast(bits > smallest, tf.float32))
    return tf.stop_gradient(weight)


def _count(flags: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(flags, tf.int32))


def _compute_errors(
    logits_bhwc: tf.Tensor,
    labels_bhw: tf.Tensor,
    ignore_label: int,
    class_weights: Sequence[float] | None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the weighted errors, 0 where ignored, and which pixels count."""
    is_counted = labels_bhw != ignore_label
    labels = tf.where(is_counted, labels_bhw, 0)
    error = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=labels, logits=tf.cast(logits_bhwc, tf.float32)
    )
    if class_weights is not None:
        error *= class_weights_lib.look_up(labels, class_weights)
    return tf.where(is_counted, error, 0.0), is_counted


def share_over_batch(sum_b: tf.Tensor, count_b: tf.Tensor) -> tf.Tensor:
    """Returns values whose mean is the sum of all sums over that of all counts.

    Args:
        sum_b: float32 [B].
        count_b: float32 [B].

    Returns:
        float32 [B]; 0 where all counts are 0.
    """
    batch = tf.cast(tf.shape(sum_b)[0], tf.float32)
    total = tf.reduce_sum(count_b)
    return sum_b * tf.math.divide_no_nan(batch, total)
