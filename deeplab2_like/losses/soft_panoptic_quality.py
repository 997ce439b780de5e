# SPDX-License-Identifier: Apache-2.0
"""A differentiable panoptic quality, and the loss that is its -log.

Panoptic quality (arXiv:1801.00868) counts a true segment as found when its
IoU with a predicted one is above one half. Here the IoU is that of soft masks,
and the step at one half is a sigmoid. MaX-DeepLab (arXiv:2012.00759) has
another loss of that kind, which matches queries with segments; here the
segment of each soft mask is known.

B images, S segments: true ones, and predicted ones without truth.
"""

import tensorflow as tf

# How steep the sigmoid is around an IoU of one half.
STEEPNESS = 10.0
_SMALLEST = 1e-6


def compute_soft_overlap(
    shared_bs: tf.Tensor, predicted_bs: tf.Tensor, true_bs: tf.Tensor
) -> tf.Tensor:
    """Computes the IoU of soft masks.

    Args:
        shared_bs: float32 [B, S], sum of prediction * truth over the pixels.
        predicted_bs: float32 [B, S], sum of the prediction.
        true_bs: float32 [B, S], sum of the truth.

    Returns:
        float32 [B, S] in 0..1; 0 where both masks are empty.
    """
    union = predicted_bs + true_bs - shared_bs
    return shared_bs / tf.maximum(union, _SMALLEST)


def compute_soft_quality_loss(
    overlap_bs: tf.Tensor,
    is_true_bs: tf.Tensor,
    false_positive_b: tf.Tensor | None = None,
    *,
    steepness: float = STEEPNESS,
) -> tf.Tensor:
    """Computes -log of a soft panoptic quality.

    Each true segment is a true positive to the degree
    t = sigmoid(steepness * (IoU - 1 / 2)); to the degree 1 - t it is missed
    and its prediction is a false positive. So

        quality = sum(t * IoU) / (sum(t) + sum(1 - t) + false / 2),

    in which false counts the predictions for segments that do not exist.

    Args:
        overlap_bs: float32 [B, S], soft IoU of each segment with its
            prediction, in 0..1.
        is_true_bs: bool [B, S], the segment exists.
        false_positive_b: float32 [B], predictions without truth, counted
            softly; None for 0.
        steepness: Slope factor of the sigmoid.

    Returns:
        float32 [B], at least 0; 0 for images without segments.
    """
    exists = tf.cast(is_true_bs, tf.float32)
    found = exists * tf.sigmoid(steepness * (overlap_bs - 0.5))
    number = tf.reduce_sum(exists, axis=1)
    # A miss and a false prediction count one half each.
    total = (
        number
        if false_positive_b is None
        else (number + 0.5 * false_positive_b)
    )
    quality = tf.reduce_sum(found * overlap_bs, axis=1) / tf.maximum(total, 1.0)
    loss = -tf.math.log(tf.maximum(quality, 0.0) + _SMALLEST)
    return tf.where(number > 0.0, tf.maximum(loss, 0.0), 0.0)


def compute_semantic_overlap(
    logits_bhwc: tf.Tensor, labels_bhw: tf.Tensor, *, ignore_label: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Computes the soft IoU of each class, which is one segment of an image.

    Args:
        logits_bhwc: float [B, H, W, C].
        labels_bhw: int32 [B, H, W], 0..C-1 or `ignore_label`.
        ignore_label: Pixels of this label do not count.

    Returns:
        float32 [B, C], soft IoU; bool [B, C], the class occurs; float32 [B],
        the soft number of predicted classes that do not occur, which is the
        sum of min(1, C * share of the pixels) over them.
    """
    channels = logits_bhwc.shape[-1]
    is_counted = tf.cast(labels_bhw != ignore_label, tf.float32)[
        ..., tf.newaxis
    ]
    predicted = tf.nn.softmax(tf.cast(logits_bhwc, tf.float32)) * is_counted
    truth = tf.one_hot(labels_bhw, channels) * is_counted
    axes = [1, 2]
    true_area = tf.reduce_sum(truth, axis=axes)
    area = tf.reduce_sum(predicted, axis=axes)
    shared = tf.reduce_sum(predicted * truth, axis=axes)
    occurs = true_area > 0.0
    pixels = tf.reduce_sum(is_counted, axis=axes)
    degree = tf.minimum(area * channels / tf.maximum(pixels, 1.0), 1.0)
    return (
        compute_soft_overlap(shared, area, true_area),
        occurs,
        tf.reduce_sum(tf.where(occurs, 0.0, degree), axis=1),
    )


def compute_mask_overlap(
    logits_bkhw: tf.Tensor,
    targets_bkhw: tf.Tensor,
    probability_bk: tf.Tensor,
) -> tf.Tensor:
    """Computes the soft IoU of masks in the frames of their boxes.

    Args:
        logits_bkhw: float [B, K, h, w], of the class of the object.
        targets_bkhw: float32 [B, K, h, w], 0 or 1.
        probability_bk: float32 [B, K], of the class of the object: a factor
            of the IoU, as objects of a wrong class are not found.

    Returns:
        float32 [B, K].
    """
    predicted = tf.sigmoid(tf.cast(logits_bkhw, tf.float32))
    axes = [2, 3]
    overlap = compute_soft_overlap(
        tf.reduce_sum(predicted * targets_bkhw, axis=axes),
        tf.reduce_sum(predicted, axis=axes),
        tf.reduce_sum(targets_bkhw, axis=axes),
    )
    return overlap * probability_bk
