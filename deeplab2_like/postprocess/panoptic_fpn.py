# SPDX-License-Identifier: Apache-2.0
"""Post-processing of Panoptic FPN: class logits and objects to segments.

B images; h, w: size of the logits; H, W: size of the result; D objects that
there can be; C classes.
"""

from collections.abc import Sequence

import tensorflow as tf

from deeplab2_like.postprocess import batch, options
from deeplab2_like.postprocess.masks import heuristic_merge
from deeplab2_like.postprocess.objects import Objects
from deeplab2_like.postprocess.pixels import channels, semantic
from deeplab2_like.postprocess.prediction import Prediction


def postprocess(
    semantic_logits_bhwc: tf.Tensor | None,
    objects: Objects,
    *,
    canvas_size: batch.CanvasSize,
    valid_size: tf.Tensor | None = None,
    class_rules: options.ClassRules,
    mask_rules: options.MaskRules,
    channel_classes: Sequence[int] | None = None,
    is_half_pixel: bool = False,
) -> Prediction:
    """Merges objects and classes to segments.

    The score of a thing is that of its detection, that of stuff the mean
    probability of its class. Pixels of a thing class outside of all instances
    are void, in the semantic map too.

    Args:
        semantic_logits_bhwc: float [B, h, w, channels]. None for systems
            without a semantic branch, where all but the instances is void.
        objects: Objects of the instance branch; masks are probabilities.
        canvas_size: (H, W). The logits are upsampled to it bilinearly.
        valid_size: As in `semantic_only.postprocess`.
        class_rules: The classes.
        mask_rules: Which objects become instances.
        channel_classes: Class that each channel of the logits stands for. A
            channel for all things together has any one of them. If None, each
            class has a channel.
        is_half_pixel: Whether the logits are upsampled with half-pixel
            centers, not with aligned corners.

    Raises:
        ConfigError: The semantic branch has another number of channels.
    """
    objects = objects.as_tensors()
    inputs = [*objects]
    class_of_channel: tuple[int, ...] = ()
    if semantic_logits_bhwc is not None:
        inputs.append(tf.cast(semantic_logits_bhwc, tf.float32))
        class_of_channel = channels.find_channel_classes(
            inputs[-1], class_rules, channel_classes
        )
    size = batch.unpack_size(canvas_size)

    def process(valid_size: tf.Tensor, *inputs: tf.Tensor) -> batch.Fields:
        found = Objects(*inputs[: len(objects)])
        if semantic_logits_bhwc is None:
            classes = None
            category = tf.fill(tf.stack(size), class_rules.thing_ids[0])
        else:
            classes = semantic.compute_semantic_map(
                semantic.Scores(inputs[-1], is_half_pixel=is_half_pixel),
                size,
                valid_size[0],
            )
            category = channels.name_channels(
                classes.category, class_of_channel
            )
        placed = heuristic_merge.place_masks(
            found.masks,
            found.boxes,
            tf.where(found.is_valid, found.score, float("-inf")),
            size,
            valid_size,
            mask_rules,
        )
        return batch.segment_known(
            classes,
            category,
            placed.instance,
            batch.mask_valid(size, valid_size),
            found.category,
            found.score,
            class_rules,
        )

    description = batch.describe(size, class_rules, objects.score.shape[1])
    return Prediction(
        **batch.map_images(process, inputs, valid_size, size, description)
    )
