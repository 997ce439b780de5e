# SPDX-License-Identifier: Apache-2.0
"""Post-processing of EfficientPS: class logits and mask logits to segments.

Only operations that XLA compiles for CPU, GPU and TPU; shapes are static
where those of the inputs are. Images of a batch are handled one after the
other, so that the memory is that of one image.

B images; h, w: size of the class logits; H, W: size of the result; D objects
that there can be; C classes.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from deeplab2_like.postprocess import fusion, images, rules, semantic
from deeplab2_like.postprocess.compilation import Size
from deeplab2_like.postprocess.panoptic_fpn import Objects, name_channels
from deeplab2_like.postprocess.prediction import Prediction


def postprocess(
    logits_bhwc: tf.Tensor,
    objects: Objects,
    *,
    channel_classes: Sequence[int],
    size: tuple[Size, Size],
    valid_size: tf.Tensor | None,
    class_rules: rules.ClassRules,
    fusion_rules: fusion.FusionRules,
    frames_bd4: tf.Tensor | None = None,
    reach: int | None = None,
) -> Prediction:
    """Fuses objects and classes to segments.

    The score of a thing is that of its detection, that of stuff the mean
    probability of its class. What no instance wins is of its most probable
    class: void if that is a thing, or stuff of too few pixels.

    Args:
        logits_bhwc: float [B, h, w, channels].
        objects: What the instance branch found; its masks are *logits*.
        channel_classes: Class that each channel stands for. A channel for all
            things together has any one of them.
        size: (H, W). The class logits are upsampled to it bilinearly with
            aligned corners.
        valid_size: int32 [B, 2], (height, width) of the top left part that is
            image. The rest is void and counts for nothing. None: all is.
        class_rules: The classes.
        fusion_rules: Which objects become instances.
        frames_bd4: float32 [B, D, 4], where each mask lies, if not in its box.
        reach: See `fusion.FusionMasks`.
    """
    channel_of = _find_channels(channel_classes, class_rules)
    stuff = [
        channel
        for channel, category in enumerate(channel_classes)
        if category not in class_rules.thing_ids
    ]

    def process(valid_size: tf.Tensor, *inputs: tf.Tensor) -> images.Fields:
        found, frames, logits = Objects(*inputs[:5]), inputs[5], inputs[6]
        classes = semantic.compute_semantic_map(
            semantic.Scores(logits, False), size, valid_size[0]
        )
        if stuff:
            best = semantic.compute_largest(
                tf.gather(logits, stuff, axis=-1), size, valid_size[0]
            )
        else:
            best = tf.fill(tf.stack(size), float("-inf"))
        masks = fusion.FusionMasks(
            logits=found.masks,
            frames=frames,
            boxes=found.boxes,
            channel=tf.gather(channel_of, found.category),
            score=tf.where(found.is_valid, found.score, float("-inf")),
            reach=reach,
        )
        placed = fusion.fuse_masks(
            masks, logits, best, valid_size, fusion_rules
        )
        return images.segment_known(
            classes,
            name_channels(classes.category, channel_classes),
            placed.instance,
            images.mask_valid(size, valid_size),
            found.category,
            found.score,
            class_rules,
        )

    frames = objects.boxes if frames_bd4 is None else frames_bd4
    number = objects.score.shape[1]
    fields = images.map_images(
        process,
        [*objects, frames, tf.cast(logits_bhwc, tf.float32)],
        valid_size,
        size,
        images.describe(size, class_rules, rules.CenterRules(0.0, 1, number)),
    )
    return Prediction(**fields)


def _find_channels(
    channel_classes: Sequence[int], class_rules: rules.ClassRules
) -> np.ndarray:
    """Gives the channel of each class, int32 [C]: things may share one."""
    channels = list(channel_classes)
    shared = [i for i, c in enumerate(channels) if c in class_rules.thing_ids]
    return np.array(
        [
            channels.index(c) if c in channels else (shared or [0])[0]
            for c in range(class_rules.num_classes)
        ],
        np.int32,
    )
