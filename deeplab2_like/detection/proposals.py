# SPDX-License-Identifier: Apache-2.0
"""Selection of the best boxes of a region proposal network and a box head.

B images; N anchors of a level; P proposals; C thing classes; D detections.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from deeplab2_like.detection import boxes as boxes_lib
from deeplab2_like.detection import nms
from deeplab2_like.graph import exact_floats

PROPOSAL_WEIGHTS = (1.0, 1.0, 1.0, 1.0)
_NOTHING = float("-inf")


class Level(NamedTuple):
    """Outputs of a region proposal network on one feature map.

    Attributes:
        objectness: float [B, N], logits.
        codes: float [B, N, 4], boxes relative to the anchors.
        anchors: float32 [N, 4].
    """

    objectness: tf.Tensor
    codes: tf.Tensor
    anchors: tf.Tensor


class Proposals(NamedTuple):
    """Boxes in decreasing order of their scores, then empty places.

    Attributes:
        boxes: float32 [B, P, 4], within the image; 0 where empty.
        score: float32 [B, P], logits; 0 where empty.
        is_valid: bool [B, P].
    """

    boxes: tf.Tensor
    score: tf.Tensor
    is_valid: tf.Tensor


class Detections(NamedTuple):
    """Objects in decreasing order of their scores, then empty places.

    Attributes:
        boxes: float32 [B, D, 4], within the image; 0 where empty.
        category: int32 [B, D], 0..C-1; 0 where empty.
        score: float32 [B, D] in 0..1; 0 where empty.
        is_valid: bool [B, D].
    """

    boxes: tf.Tensor
    category: tf.Tensor
    score: tf.Tensor
    is_valid: tf.Tensor


@dataclasses.dataclass(frozen=True)
class DetectionRules:
    """The rules by which `select_detections` selects objects.

    Attributes:
        code_weights: Factors of the codes (dy, dx, dh, dw).
        score_threshold: Objects have a higher score.
        overlap_threshold: Threshold of the suppression.
        candidate_limit: Pairs of proposal and class, the best ones, that take
            part in the suppression. detectron2 has no such limit.
        limit: D.
    """

    code_weights: Sequence[float]
    score_threshold: float
    overlap_threshold: float
    candidate_limit: int
    limit: int


def select_proposals(
    levels: Sequence[Level],
    valid_size_b2: tf.Tensor,
    *,
    level_limit: int,
    limit: int,
    overlap_threshold: float,
) -> Proposals:
    """Selects the best boxes of all levels.

    Feature pyramid networks (arXiv:1612.03144); as in detectron2: of each
    level the best anchors, suppressed among themselves, then the best of all.

    Args:
        levels: Outputs on one or more feature maps.
        valid_size_b2: int32 [B, 2], size of the images; boxes are clipped to
            it, and those that are then empty do not count.
        level_limit: Number of anchors of each level before suppression.
        limit: P, number of boxes of all levels together.
        overlap_threshold: Threshold of the suppression.
    """
    parts = [
        _select_level(level, valid_size_b2, level_limit) for level in levels
    ]
    boxes = tf.stack([part[0] for part in parts], axis=1)
    score = tf.stack([part[1] for part in parts], axis=1)
    most = min(limit, level_limit)
    shape = [-1, len(levels) * most]
    index, is_kept = nms.suppress_overlaps(
        tf.reshape(boxes, [-1, level_limit, 4]),
        tf.reshape(score, [-1, level_limit]),
        overlap_threshold=overlap_threshold,
        max_output=most,
    )
    boxes = tf.gather(
        tf.reshape(boxes, [-1, level_limit, 4]), index, batch_dims=1
    )
    score = tf.gather(tf.reshape(score, [-1, level_limit]), index, batch_dims=1)
    score = tf.reshape(tf.where(is_kept, score, _NOTHING), shape)
    boxes = tf.reshape(boxes, [*shape, 4])
    best = _pad_and_rank(score, limit)
    is_valid = best.values > _NOTHING
    index = tf.minimum(best.indices, shape[1] - 1)
    boxes = tf.gather(boxes, index, batch_dims=1)
    return Proposals(
        boxes=tf.where(is_valid[..., tf.newaxis], boxes, 0.0),
        score=tf.where(is_valid, best.values, 0.0),
        is_valid=is_valid,
    )


def _select_level(
    level: Level, valid_size_b2: tf.Tensor, number: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns boxes [B, number, 4] and scores, minus infinity where empty."""
    score = tf.cast(level.objectness, tf.float32)
    best = _pad_and_rank(score, number)
    index = tf.minimum(best.indices, tf.shape(score)[1] - 1)
    boxes = boxes_lib.decode(
        tf.gather(level.codes, index, batch_dims=1),
        tf.gather(level.anchors, index),
        PROPOSAL_WEIGHTS,
    )
    boxes = boxes_lib.clip(boxes, valid_size_b2)
    is_box = _are_boxes(boxes) & tf.math.is_finite(best.values)
    return (
        tf.where(is_box[..., tf.newaxis], boxes, 0.0),
        tf.where(is_box, best.values, _NOTHING),
    )


def select_detections(
    class_logits_bpc: tf.Tensor,
    codes_bpc4: tf.Tensor,
    proposals: Proposals,
    valid_size_b2: tf.Tensor,
    rules: DetectionRules,
) -> Detections:
    """Selects objects from the outputs of the box head.

    As in detectron2 (FastRCNNOutputLayers.inference): each proposal may become
    an object of every class; objects of one class suppress each other.

    Args:
        class_logits_bpc: float [B, P, C + 1], background last.
        codes_bpc4: float [B, P, C, 4], boxes relative to the proposals.
        proposals: Inputs of the head.
        valid_size_b2: int32 [B, 2], size of the images.
        rules: The rules of the selection.
    """
    num_classes = codes_bpc4.shape[2]
    # The same in every mode, as the selection depends on the scores.
    score = exact_floats.softmax(tf.cast(class_logits_bpc, tf.float32))
    score = score[..., :-1]
    is_candidate = (score > rules.score_threshold) & proposals.is_valid[
        ..., tf.newaxis
    ]
    flat = tf.reshape(
        tf.where(is_candidate, score, _NOTHING),
        [-1, codes_bpc4.shape[1] * num_classes],
    )
    best = _pad_and_rank(flat, rules.candidate_limit)
    index = tf.minimum(best.indices, flat.shape[1] - 1)
    category = index % num_classes
    codes = tf.reshape(codes_bpc4, [-1, flat.shape[1], 4])
    boxes = boxes_lib.decode(
        tf.gather(codes, index, batch_dims=1),
        tf.gather(proposals.boxes, index // num_classes, batch_dims=1),
        rules.code_weights,
    )
    boxes = boxes_lib.clip(boxes, valid_size_b2)
    is_box = _are_boxes(boxes) & (best.values > _NOTHING)
    boxes = tf.where(is_box[..., tf.newaxis], boxes, 0.0)
    score = tf.where(is_box, best.values, _NOTHING)
    index, is_kept = nms.suppress_overlaps(
        boxes,
        score,
        overlap_threshold=rules.overlap_threshold,
        max_output=rules.limit,
        group_ln=category,
    )

    def take(values: tf.Tensor) -> tf.Tensor:
        taken = tf.gather(values, index, batch_dims=1)
        mask = is_kept if values.shape.rank == 2 else is_kept[..., tf.newaxis]
        return tf.where(mask, taken, tf.zeros_like(taken))

    return Detections(take(boxes), take(category), take(score), is_kept)


def _pad_and_rank(score_bn: tf.Tensor, number: int):
    """Returns the `number` best scores, padded by minus infinity."""
    known = score_bn.shape[1]
    missing = number - (tf.shape(score_bn)[1] if known is None else known)
    missing = tf.maximum(missing, 0) if known is None else max(missing, 0)
    padded = tf.pad(score_bn, [[0, 0], [0, missing]], constant_values=_NOTHING)
    # XLA puts not-a-number first, and zero before minus zero.
    padded = tf.where(padded == padded, padded, _NOTHING)
    return tf.math.top_k(tf.where(padded == 0.0, 0.0, padded), number)


def _are_boxes(boxes: tf.Tensor) -> tf.Tensor:
    """Returns which boxes, float32 [..., 4], are finite and have an area."""
    is_finite = tf.reduce_all(tf.math.is_finite(boxes), axis=-1)
    return is_finite & tf.reduce_all(boxes[..., 2:] > boxes[..., :2], axis=-1)
