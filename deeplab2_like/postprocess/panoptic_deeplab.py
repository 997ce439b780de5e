# SPDX-License-Identifier: Apache-2.0
"""Post-processing of Panoptic-DeepLab: head outputs to segments.

Panoptic-DeepLab (arXiv:1911.10194), section 3.3, with deeplab2's definitions.
Only operations that XLA compiles for CPU, GPU and TPU; shapes are static
where those of the inputs are. Images of a batch are handled one after the
other, so that the memory is that of one image.

B images; h, w: size of the head outputs; H, W: size of the result; K: most
instances of an image; C classes; S: rows of the segment table.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.graph import compilation
from deeplab2_like.graph.compilation import Size
from deeplab2_like.postprocess import batch, options
from deeplab2_like.postprocess.pixels import averaging, semantic
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
    center_heatmap_bhw1: tf.Tensor | None,
    offset_map_bhw2: tf.Tensor | None,
    *,
    canvas_size: Sequence[int | tf.Tensor] | tf.Tensor,
    valid_size: tf.Tensor | None = None,
    num_classes: int,
    thing_ids: Sequence[int],
    label_divisor: int,
    ignore_label: int,
    center_threshold: float,
    nms_kernel: int,
    keep_k_centers: int,
    stuff_area_limit: int,
    are_probabilities: bool = False,
) -> Prediction:
    """Turns head outputs into classes, instances and segments.

    The score of a thing is the heatmap at its center times the mean
    probability of its class in its pixels; that of stuff is the mean alone.

    Args:
        semantic_scores_bhwc: float [B, h, w, C], logits.
        center_heatmap_bhw1: float [B, h, w, 1]. None for systems without
            instances: then each class that occurs is a segment.
        offset_map_bhw2: float [B, h, w, 2], (dy, dx) in pixels of the head
            resolution; None with the heatmap.
        canvas_size: (H, W). The outputs are upsampled to it bilinearly with
            aligned corners, and the offsets scaled.
        valid_size: int32 [B, 2], (height, width) of the top left part that is
            image. The rest is void and counts for nothing. None: all is.
        num_classes: C.
        thing_ids: Classes with instances.
        label_divisor: Panoptic id = class * label_divisor + instance.
        ignore_label: Class of void pixels.
        center_threshold: Centers have a higher heatmap value than this.
        nms_kernel: Side of the square in which a center is highest, in
            pixels of the canvas.
        keep_k_centers: K; not positive: `centers.MAX_CENTERS`.
        stuff_area_limit: Smaller stuff regions become void, in pixels.
        are_probabilities: The scores are probabilities and no logits.

    Raises:
        ConfigError: The arguments contradict each other.
    """
    class_rules = options.ClassRules(
        num_classes=num_classes,
        thing_ids=tuple(thing_ids),
        ignore_label=ignore_label,
        label_divisor=label_divisor,
        stuff_area_limit=stuff_area_limit,
    )
    center_rules = options.CenterRules(
        center_threshold, nms_kernel, keep_k_centers
    )
    _check_channels(semantic_scores_bhwc, num_classes)
    size = _unpack_size(canvas_size)
    inputs = [semantic_scores_bhwc]
    if center_heatmap_bhw1 is not None and offset_map_bhw2 is not None:
        inputs += [center_heatmap_bhw1, offset_map_bhw2]

    def process(
        valid_size: tf.Tensor, scores_hwc: tf.Tensor, *maps: tf.Tensor
    ) -> batch.Fields:
        scores = semantic.Scores(scores_hwc, are_probabilities)
        classes = semantic.compute_semantic_map(scores, size, valid_size[0])
        is_valid = batch.mask_valid(size, valid_size)
        if not maps:
            return batch.segment_classes(classes, is_valid, class_rules)
        return batch.segment_instances(
            classes.category,
            batch.upsample_instance_maps(maps[0], maps[1], size, valid_size[0]),
            is_valid,
            class_rules,
            center_rules,
            lambda merged: averaging.average_class_probability(
                scores,
                classes,
                merged.slot,
                merged.slot_category,
                merged.slot_area,
            ),
        )[0]

    fields = batch.map_images(
        process,
        [tf.cast(x, tf.float32) for x in inputs],
        valid_size,
        size,
        batch.describe(
            size, class_rules, center_rules if len(inputs) > 1 else None
        ),
    )
    return Prediction(**{"panoptic": None, **fields})


def postprocess_full_size(
    semantic_bhw: tf.Tensor,
    center_heatmap_bhw: tf.Tensor,
    offset_map_bhw2: tf.Tensor,
    *,
    class_rules: options.ClassRules,
    center_rules: options.CenterRules,
    valid_size: tf.Tensor | None = None,
) -> tuple[Prediction, InstanceMaps]:
    """Turns maps of full size into segments, and shows the instances too.

    As `postprocess`, where the classes are known for sure: the score of a
    thing is the heatmap at its center, that of stuff is 1.

    Args:
        semantic_bhw: int32 [B, H, W] in 0..C-1.
        center_heatmap_bhw: float [B, H, W].
        offset_map_bhw2: float [B, H, W, 2], (dy, dx) in pixels.
        class_rules: The classes.
        center_rules: What counts as a center.
        valid_size: As in `postprocess`.
    """
    _, height, width = compilation.sizes(semantic_bhw)
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

    description = batch.describe(size, class_rules, center_rules)
    fields = batch.map_images(
        process,
        [
            tf.cast(semantic_bhw, tf.int32),
            tf.cast(center_heatmap_bhw, tf.float32),
            tf.cast(offset_map_bhw2, tf.float32),
        ],
        valid_size,
        size,
        description | batch.describe_instances(size),
    )
    maps = InstanceMaps(fields.pop("instance"), fields.pop("instance_score"))
    return Prediction(**fields), maps


def _check_channels(scores_bhwc: tf.Tensor, num_classes: int) -> None:
    """Raises ConfigError if the head is not for these classes."""
    channels = scores_bhwc.shape[-1]
    if channels != num_classes:
        raise errors.ConfigError(
            f"The semantic head has {channels} channels but the data set "
            f"{num_classes} classes. They must be equal: build the model for "
            "this data set."
        )


def _unpack_size(
    canvas_size: Sequence[int | tf.Tensor] | tf.Tensor,
) -> tuple[Size, Size]:
    """Returns height and width, as numbers where they are known."""
    height, width = (
        tf.unstack(canvas_size, 2) if tf.is_tensor(canvas_size) else canvas_size
    )
    known = [tf.get_static_value(n) for n in (height, width)]
    if None in known:
        return tf.cast(height, tf.int32), tf.cast(width, tf.int32)
    return int(known[0]), int(known[1])
