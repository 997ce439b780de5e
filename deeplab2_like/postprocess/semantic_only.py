# SPDX-License-Identifier: Apache-2.0
"""Post-processing of systems without instances: each class is a segment.

DeepLabV3 and V3+, and Panoptic FPN without its instance branch.
"""

import tensorflow as tf

from deeplab2_like.postprocess import batch, options
from deeplab2_like.postprocess.pixels import channels, semantic
from deeplab2_like.postprocess.prediction import Prediction


def postprocess(
    semantic_scores_bhwc: tf.Tensor,
    *,
    canvas_size: batch.CanvasSize,
    valid_size: tf.Tensor | None = None,
    class_rules: options.ClassRules,
    are_probabilities: bool = False,
    is_half_pixel: bool = False,
) -> Prediction:
    """Turns scores of classes into classes and a segment of each.

    The score of a segment is the mean probability of its class.

    Args:
        semantic_scores_bhwc: float [B, h, w, C], logits or probabilities.
        canvas_size: (H, W). The scores are upsampled to it bilinearly.
        valid_size: int [B, 2], (height, width) of the top left part that is
            image; the rest is void and counts for nothing. If None, all is
            image.
        class_rules: The classes.
        are_probabilities: Whether the scores are probabilities, not logits.
        is_half_pixel: Whether the scores are upsampled with half-pixel
            centers, not with aligned corners.

    Returns:
        The prediction; its `panoptic` is None.

    Raises:
        ConfigError: The head is not for these classes.
    """
    scores_bhwc = tf.cast(semantic_scores_bhwc, tf.float32)
    channels.find_channel_classes(scores_bhwc, class_rules)
    size = batch.unpack_size(canvas_size)

    def process(valid_size: tf.Tensor, scores_hwc: tf.Tensor) -> batch.Fields:
        scores = semantic.Scores(scores_hwc, are_probabilities, is_half_pixel)
        return batch.segment_classes(
            semantic.compute_semantic_map(scores, size, valid_size[0]),
            batch.mask_valid(size, valid_size),
            class_rules,
        )

    fields = batch.map_images(
        process,
        [scores_bhwc],
        valid_size,
        size,
        batch.describe(size, class_rules, None),
    )
    return Prediction(panoptic=None, **fields)
