# SPDX-License-Identifier: Apache-2.0
"""Losses of Mask R-CNN on sampled boxes.

Faster R-CNN (arXiv:1506.01497), equation 1, and Mask R-CNN (arXiv:1703.06870),
section 3, with the normalization of detectron2. Losses of images are float32
[B]; their mean is the loss of the batch.

B images, K places for sampled boxes, C classes.
"""

from collections.abc import Mapping

import tensorflow as tf

from deeplab2_like.losses.cross_entropy import share_over_batch


def compute_smooth_l1(error: tf.Tensor, beta: float) -> tf.Tensor:
    """Returns the absolute error, made smooth around 0.

    Args:
        error: float32 [...].
        beta: Errors below it give error ** 2 / (2 * beta), those above it
            |error| - beta / 2; 0 for the absolute error.

    Returns:
        float32 [...].
    """
    size = tf.abs(error)
    if beta <= 0.0:
        return size
    # The square is taken of the part below beta only, so that it is finite.
    part = tf.minimum(size, beta)
    return 0.5 / beta * tf.square(part) + (size - part)


def compute_objectness_loss(
    logits_bk: tf.Tensor,
    is_object_bk: tf.Tensor,
    is_chosen_bk: tf.Tensor,
) -> tf.Tensor:
    """Computes the sum of the binary cross entropy of anchors, divided by K.

    Args:
        logits_bk: float [B, K].
        is_object_bk: bool [B, K].
        is_chosen_bk: bool [B, K]; other places count as 0.

    Returns:
        float32 [B].
    """
    error = tf.nn.sigmoid_cross_entropy_with_logits(
        labels=tf.cast(is_object_bk, tf.float32),
        logits=tf.cast(logits_bk, tf.float32),
    )
    error = tf.where(is_chosen_bk, error, 0.0)
    return tf.reduce_sum(error, axis=1) / logits_bk.shape[1]


def compute_code_loss(
    codes_bk4: tf.Tensor,
    targets_bk4: tf.Tensor,
    is_positive_bk: tf.Tensor,
    *,
    beta: float,
) -> tf.Tensor:
    """Computes the smooth absolute error of box codes, summed over each image.

    Args:
        codes_bk4: float [B, K, 4].
        targets_bk4: float32 [B, K, 4]; any values where not positive.
        is_positive_bk: bool [B, K], the box is matched with an object.
        beta: See `compute_smooth_l1`.

    Returns:
        float32 [B].
    """
    mask = is_positive_bk[..., tf.newaxis]
    difference = tf.cast(codes_bk4, tf.float32) - targets_bk4
    # Masked before the error is computed, for finite gradients.
    error = compute_smooth_l1(tf.where(mask, difference, 0.0), beta)
    return tf.reduce_sum(error, axis=[1, 2])


def compute_class_loss(
    logits_bkc: tf.Tensor, labels_bk: tf.Tensor, is_chosen_bk: tf.Tensor
) -> tf.Tensor:
    """Computes the mean cross entropy of the regions of the batch.

    Args:
        logits_bkc: float [B, K, C + 1], background last.
        labels_bk: int32 [B, K] in 0..C.
        is_chosen_bk: bool [B, K]; other places do not count.

    Returns:
        float32 [B].
    """
    error = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=labels_bk, logits=tf.cast(logits_bkc, tf.float32)
    )
    error = tf.where(is_chosen_bk, error, 0.0)
    return share_over_batch(tf.reduce_sum(error, axis=1), _count(is_chosen_bk))


def compute_region_code_loss(
    codes_bk4: tf.Tensor,
    targets_bk4: tf.Tensor,
    is_positive_bk: tf.Tensor,
    is_chosen_bk: tf.Tensor,
    *,
    beta: float,
) -> tf.Tensor:
    """Computes `compute_code_loss`, divided by the number of all regions.

    Args:
        codes_bk4: float [B, K, 4], codes for the class of the object.
        targets_bk4: float32 [B, K, 4].
        is_positive_bk: bool [B, K].
        is_chosen_bk: bool [B, K], positive or background.
        beta: See `compute_smooth_l1`.

    Returns:
        float32 [B].
    """
    error = compute_code_loss(codes_bk4, targets_bk4, is_positive_bk, beta=beta)
    return share_over_batch(error, _count(is_chosen_bk))


def compute_mask_loss(
    logits_bkhw: tf.Tensor, targets_bkhw: tf.Tensor, is_positive_bk: tf.Tensor
) -> tf.Tensor:
    """Computes the mean binary cross entropy of the masks of the batch.

    Args:
        logits_bkhw: float [B, K, h, w], logits for the class of the object.
        targets_bkhw: float32 [B, K, h, w], 0 or 1.
        is_positive_bk: bool [B, K]; other places do not count.

    Returns:
        float32 [B].
    """
    error = tf.nn.sigmoid_cross_entropy_with_logits(
        labels=targets_bkhw, logits=tf.cast(logits_bkhw, tf.float32)
    )
    error = tf.reduce_mean(error, axis=[2, 3])
    error = tf.where(is_positive_bk, error, 0.0)
    return share_over_batch(
        tf.reduce_sum(error, axis=1), _count(is_positive_bk)
    )


def compute_instance_losses(
    outputs: Mapping[str, tf.Tensor], *, proposal_beta: float = 0.0
) -> dict[str, tf.Tensor]:
    """Computes all losses of Mask R-CNN, with detectron2's constants.

    Args:
        outputs: Outputs of `model.heads.mask_rcnn.InstanceBranch` in training.
        proposal_beta: `beta` of `compute_smooth_l1` for the box codes of
            proposals.

    Returns:
        float32 [B] each, by their names in configs.
    """
    anchor_boxes = compute_code_loss(
        outputs["anchor_codes"],
        outputs["anchor_code_targets"],
        outputs["anchor_is_object"],
        beta=proposal_beta,
    )
    return {
        "proposal_loss": compute_objectness_loss(
            outputs["anchor_logits"],
            outputs["anchor_is_object"],
            outputs["anchor_is_chosen"],
        ),
        "proposal_box_loss": anchor_boxes / outputs["anchor_logits"].shape[1],
        "class_loss": compute_class_loss(
            outputs["region_logits"],
            outputs["region_class"],
            outputs["region_is_chosen"],
        ),
        "box_loss": compute_region_code_loss(
            outputs["region_codes"],
            outputs["region_code_targets"],
            outputs["region_is_object"],
            outputs["region_is_chosen"],
            beta=0.0,
        ),
        "mask_loss": compute_mask_loss(
            outputs["mask_logits"],
            outputs["mask_targets"],
            outputs["mask_is_object"],
        ),
    }


def _count(flags_bk: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(flags_bk, tf.float32), axis=1)
