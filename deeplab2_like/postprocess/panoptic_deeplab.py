# SPDX-License-Identifier: Apache-2.0
"""Post-processing of Panoptic-DeepLab: classes, centers, offsets to segments.

Panoptic-DeepLab (arXiv:1911.10194), section 3.3, with deeplab2's definitions.

B images; h, w: size of the head outputs; H, W: size of the result; K: most
instances of an image; C classes; S: rows of the segment table.
"""

from typing import NamedTuple

import tensorflow as tf

from deeplab2_like.graph import compilation
from deeplab2_like.postprocess import batch, options
from deeplab2_like.postprocess.pixels import averaging, channels, semantic
from deeplab2_like.postprocess.prediction import Prediction


class InstanceMaps(NamedTuple):
    """Instances before they are merged with the classes.

    Attributes:
        instance: int32 [B, H, W] in 0..K: 1 + index of the pixel's center in
            raster order; 0 on stuff, void, and where there is no center.
        score: float32 [B, H, W], heatmap at that center; 0 where there is
            none.
    """

    instance: tf.Tensor
    score: tf.Tensor


def postprocess(
    semantic_scores_bhwc: tf.Tensor,
    center_heatmap_bhw1: tf.Tensor,
    offset_map_bhw2: tf.Tensor,
    *,
    canvas_size: batch.CanvasSize,
    valid_size: tf.Tensor | None = None,
    class_rules: options.ClassRules,
    center_rules: options.CenterRules,
    are_probabilities: bool = False,
) -> Prediction:
    """Turns head outputs into classes, instances and segments.

    The score of a thing is the heatmap at its center times the mean
    probability of its class in its pixels; that of stuff is the mean alone.

    Args:
        semantic_scores_bhwc: float [B, h, w, C], logits or probabilities.
        center_heatmap_bhw1: float [B, h, w, 1].
        offset_map_bhw2: float [B, h, w, 2], (dy, dx) in pixels of the head
            resolution.
        canvas_size: (H, W). The outputs are upsampled to it bilinearly with
            aligned corners, and the offsets scaled.
        valid_size: As in `semantic_only.postprocess`.
        class_rules: The classes.
        center_rules: Which pixels are centers.
        are_probabilities: Whether the scores are probabilities, not logits.

    Raises:
        ConfigError: The head is not for these classes.
    """
    heads = [
        tf.cast(maps, tf.float32)
        for maps in (semantic_scores_bhwc, center_heatmap_bhw1, offset_map_bhw2)
    ]
    channels.find_channel_classes(heads[0], class_rules)
    size = batch.unpack_size(canvas_size)

    def process(
        valid_size: tf.Tensor,
        scores_hwc: tf.Tensor,
        heatmap_hw1: tf.Tensor,
        offset_hw2: tf.Tensor,
    ) -> batch.Fields:
        scores = semantic.Scores(scores_hwc, are_probabilities)
        classes = semantic.compute_semantic_map(scores, size, valid_size[0])
        fields, _ = batch.segment_instances(
            classes.category,
            batch.upsample_instance_maps(
                heatmap_hw1, offset_hw2, size, valid_size[0]
            ),
            batch.mask_valid(size, valid_size),
            class_rules,
            center_rules,
            lambda merged: averaging.average_class_probability(
                scores,
                classes,
                merged.slot,
                merged.slot_category,
                merged.slot_area,
            ),
        )
        return fields

    description = batch.describe(size, class_rules, center_rules.limit)
    return Prediction(
        **batch.map_images(process, heads, valid_size, size, description)
    )


def postprocess_full_size(
    semantic_bhw: tf.Tensor,
    center_heatmap_bhw: tf.Tensor,
    offset_map_bhw2: tf.Tensor,
    *,
    valid_size: tf.Tensor | None = None,
    class_rules: options.ClassRules,
    center_rules: options.CenterRules,
) -> tuple[Prediction, InstanceMaps]:
    """Turns maps of full size into segments, and returns the instances too.

    As `postprocess`, with classes of probability 1: the score of a thing is
    the heatmap at its center, that of stuff is 1.

    Args:
        semantic_bhw: int [B, H, W] in 0..C-1, classes.
        center_heatmap_bhw: float [B, H, W].
        offset_map_bhw2: float [B, H, W, 2], (dy, dx) in pixels.
        valid_size: As in `postprocess`.
        class_rules: The classes.
        center_rules: Which pixels are centers.
    """
    maps = [
        tf.cast(semantic_bhw, tf.int32),
        tf.cast(center_heatmap_bhw, tf.float32),
        tf.cast(offset_map_bhw2, tf.float32),
    ]
    _, height, width = compilation.sizes(maps[0])
    size = (height, width)

    def process(
        valid_size: tf.Tensor,
        semantic_hw: tf.Tensor,
        heatmap_hw: tf.Tensor,
        offset_hw2: tf.Tensor,
    ) -> batch.Fields:
        fields, instances = batch.segment_instances(
            semantic_hw,
            batch.InstanceInputs(
                heatmap_hw, tf.transpose(offset_hw2, [2, 0, 1])
            ),
            batch.mask_valid(size, valid_size),
            class_rules,
            center_rules,
        )
        return fields | instances

    description = batch.describe(size, class_rules, center_rules.limit)
    description |= batch.describe_instances(size)
    fields = batch.map_images(process, maps, valid_size, size, description)
    instances = InstanceMaps(
        fields.pop("instance"), fields.pop("instance_score")
    )
    return Prediction(**fields), instances
