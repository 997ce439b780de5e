# SPDX-License-Identifier: Apache-2.0
"""Losses of SOLOv2: classes of cells, and masks of some of them.

Wang et al., "SOLOv2" (arXiv:2003.10152), section 3.3. Losses of images are
float32 [B]; their mean is the loss of the batch.

B images; G cells; C thing classes; N places for masks.
"""

import tensorflow as tf

from deeplab2_like.losses.cross_entropy import share_over_batch

# Added to the sums of squares of a mask and of its target.
_SMOOTHING = 1e-3


def compute_focal_error(
    logits: tf.Tensor,
    is_class: tf.Tensor,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> tf.Tensor:
    """Computes the sigmoid focal loss (Lin et al., arXiv:1708.02002).

    Args:
        logits: float [...].
        is_class: bool [...].
        alpha: Weight of the elements of the class; 1 - alpha for others.
        gamma: Exponent of the probability of the wrong answer.

    Returns:
        float32 [...].
    """
    logits = tf.cast(logits, tf.float32)
    target = tf.cast(is_class, tf.float32)
    error = tf.nn.sigmoid_cross_entropy_with_logits(target, logits)
    probability = tf.sigmoid(logits)
    wrong = tf.where(is_class, 1.0 - probability, probability)
    weight = tf.where(is_class, alpha, 1.0 - alpha)
    return weight * tf.pow(wrong, gamma) * error


def compute_cell_loss(
    logits_bgc: tf.Tensor, category_bg: tf.Tensor, num_pairs_b: tf.Tensor
) -> tf.Tensor:
    """Computes the focal loss of all cells and classes of the batch.

    It is divided by 1 + the number of pairs of a cell and an object in the
    batch, so that it is finite without pairs.

    Args:
        logits_bgc: float [B, G, C].
        category_bg: int32 [B, G] in 0..C-1; other values for no object.
        num_pairs_b: int32 [B], number of pairs of each image.

    Returns:
        float32 [B].
    """
    num_classes = logits_bgc.shape[-1]
    is_class = tf.equal(category_bg[..., tf.newaxis], tf.range(num_classes))
    error = compute_focal_error(logits_bgc, is_class)
    batch = tf.cast(tf.shape(logits_bgc)[0], tf.float32)
    total = tf.cast(tf.reduce_sum(num_pairs_b), tf.float32) + 1.0
    return tf.reduce_sum(error, axis=[1, 2]) * (batch / total)


def compute_dice_error(
    logits_nhw: tf.Tensor, targets_nhw: tf.Tensor
) -> tf.Tensor:
    """Computes 1 - 2 sum(p t) / (sum(p^2) + sum(t^2)) of each mask.

    Milletari et al., arXiv:1606.04797; p are probabilities, t targets.

    Args:
        logits_nhw: float [..., h, w].
        targets_nhw: [..., h, w] in 0..1, or bool.

    Returns:
        float32 [...].
    """
    p = tf.sigmoid(tf.cast(logits_nhw, tf.float32))
    t = tf.cast(targets_nhw, tf.float32)
    axes = [-2, -1]
    both = tf.reduce_sum(p * t, axis=axes)
    squares = tf.reduce_sum(tf.square(p), axis=axes) + _SMOOTHING
    squares += tf.reduce_sum(tf.square(t), axis=axes) + _SMOOTHING
    return 1.0 - 2.0 * both / squares


def compute_mask_loss(
    logits_bnhw: tf.Tensor, targets_bnhw: tf.Tensor, is_mask_bn: tf.Tensor
) -> tf.Tensor:
    """Computes the mean dice loss of all masks of the batch; 0 without any.

    Masks without pixels, of objects that fall between the pixels at stride 4,
    do not count; in the published code they add a constant loss of 1.

    Args:
        logits_bnhw: float [B, N, h, w].
        targets_bnhw: [B, N, h, w] in 0..1, or bool.
        is_mask_bn: bool [B, N]; other places do not count.

    Returns:
        float32 [B].
    """
    error = compute_dice_error(logits_bnhw, targets_bnhw)
    has_pixels = tf.reduce_any(tf.cast(targets_bnhw, tf.bool), axis=[2, 3])
    counts = is_mask_bn & has_pixels
    return share_over_batch(
        tf.reduce_sum(tf.where(counts, error, 0.0), axis=1),
        tf.reduce_sum(tf.cast(counts, tf.float32), axis=1),
    )
