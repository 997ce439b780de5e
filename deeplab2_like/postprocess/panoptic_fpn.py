# SPDX-License-Identifier: Apache-2.0
"""Post-processing of Panoptic FPN: class logits and objects to segments.

Only operations that XLA compiles for CPU, GPU and TPU; shapes are static
where those of the inputs are. Images of a batch are handled one after the
other, so that the memory is that of one image.

B images; h, w: size of the logits; H, W: size of the result; D objects that
there can be; C classes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from deeplab2_like.graph.compilation import Size
from deeplab2_like.postprocess import batch, options
from deeplab2_like.postprocess.masks import heuristic_merge
from deeplab2_like.postprocess.pixels import semantic
from deeplab2_like.postprocess.prediction import Prediction


class Objects(NamedTuple):
    """What the instance branch found.

    Attributes:
        boxes: float32 [B, D, 4], (y1, x1, y2, x2) in pixels of the canvas.
        category: int32 [B, D], class of each.
        score: float32 [B, D].
        is_valid: bool [B, D], the place holds an object.
        masks: float32 [B, D, m, m] in 0..1, in the frames of the boxes.
    """

    boxes: tf.Tensor
    category: tf.Tensor
    score: tf.Tensor
    is_valid: tf.Tensor
    masks: tf.Tensor


def postprocess(
    logits_bhwc: tf.Tensor | None,
    objects: Objects,
    *,
    channel_classes: Sequence[int],
    size: tuple[Size, Size],
    valid_size: tf.Tensor | None,
    class_rules: options.ClassRules,
    mask_rules: heuristic_merge.MaskRules,
) -> Prediction:
    """Merges objects and classes to segments.

    The score of a thing is that of its detection, that of stuff the mean
    probability of its class. A pixel that is of some thing, but in no
    instance, is void, and its class too.

    Args:
        logits_bhwc: float [B, h, w, channels]; None for systems without a
            semantic branch: then everything but the instances is void.
        objects: What the instance branch found.
        channel_classes: Class that each channel stands for. A channel for all
            things together has any one of them.
        size: (H, W). The logits are upsampled to it bilinearly with aligned
            corners.
        valid_size: int32 [B, 2], (height, width) of the top left part that is
            image. The rest is void and counts for nothing. None: all is.
        class_rules: The classes.
        mask_rules: Which objects become instances.
    """

    def process(valid_size: tf.Tensor, *inputs: tf.Tensor) -> batch.Fields:
        found = Objects(*inputs[:5])
        classes = None
        if logits_bhwc is not None:
            scores = semantic.Scores(inputs[5], False)
            classes = semantic.compute_semantic_map(scores, size, valid_size[0])
        return _segment(
            classes,
            found,
            valid_size,
            size,
            channel_classes,
            class_rules,
            mask_rules,
        )

    inputs = [
        objects.boxes,
        objects.category,
        objects.score,
        objects.is_valid,
        objects.masks,
    ]
    if logits_bhwc is not None:
        inputs.append(tf.cast(logits_bhwc, tf.float32))
    number = objects.score.shape[1]
    fields = batch.map_images(
        process,
        inputs,
        valid_size,
        size,
        batch.describe(size, class_rules, options.CenterRules(0.0, 1, number)),
    )
    return Prediction(**fields)


def _segment(
    classes: semantic.SemanticMap | None,
    objects: Objects,
    valid_size: tf.Tensor,
    size: tuple[Size, Size],
    channel_classes: Sequence[int],
    class_rules: options.ClassRules,
    mask_rules: heuristic_merge.MaskRules,
) -> batch.Fields:
    """Makes the fields of a `Prediction` for one image."""
    if classes is None:
        category = tf.fill(tf.stack(size), class_rules.thing_ids[0])
    else:
        category = name_channels(classes.category, channel_classes)
    score = tf.where(objects.is_valid, objects.score, float("-inf"))
    placed = heuristic_merge.place_masks(
        objects.masks, objects.boxes, score, size, valid_size, mask_rules
    )
    return batch.segment_known(
        classes,
        category,
        placed.instance,
        batch.mask_valid(size, valid_size),
        objects.category,
        objects.score,
        class_rules,
    )


def name_channels(
    channel_hw: tf.Tensor, channel_classes: Sequence[int]
) -> tf.Tensor:
    """Returns the class of each channel: int32 [H, W].

    Args:
        channel_hw: int32 [H, W].
        channel_classes: Class of each channel.
    """
    # A few comparisons are faster than a table lookup for each pixel.
    shifts = [c - channel for channel, c in enumerate(channel_classes)]
    named = channel_hw + shifts[0]
    for channel in range(1, len(shifts)):
        if shifts[channel] != shifts[channel - 1]:
            named = tf.where(
                channel_hw >= channel, channel_hw + shifts[channel], named
            )
    return named


def postprocess_classes(
    logits_bhwc: tf.Tensor,
    *,
    size: tuple[Size, Size],
    valid_size: tf.Tensor | None,
    class_rules: options.ClassRules,
) -> Prediction:
    """Makes a segment of each class, for systems without instances.

    Args:
        logits_bhwc: float [B, h, w, C].
        size: As in `postprocess`.
        valid_size: As in `postprocess`.
        class_rules: The classes.
    """

    def process(valid_size: tf.Tensor, logits_hwc: tf.Tensor) -> batch.Fields:
        scores = semantic.Scores(logits_hwc, False)
        return batch.segment_classes(
            semantic.compute_semantic_map(scores, size, valid_size[0]),
            batch.mask_valid(size, valid_size),
            class_rules,
        )

    fields = batch.map_images(
        process,
        [tf.cast(logits_bhwc, tf.float32)],
        valid_size,
        size,
        batch.describe(size, class_rules, None),
    )
    return Prediction(panoptic=None, **fields)


def unpack_size(
    canvas_size: Sequence[int | tf.Tensor] | tf.Tensor,
) -> tuple[Size, Size]:
    """Returns height and width, as numbers where they are known."""
    if tf.is_tensor(canvas_size):
        canvas_size = tf.unstack(canvas_size, 2)
    known = [tf.get_static_value(n) for n in canvas_size]
    if None in known:
        height, width = canvas_size
        return tf.cast(height, tf.int32), tf.cast(width, tf.int32)
    return int(known[0]), int(known[1])
