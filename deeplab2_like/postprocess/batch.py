# SPDX-License-Identifier: Apache-2.0
"""The steps of post-processing for one image, and the loop over a batch.

B images; h, w: size of the head outputs; H, W: size of the result; K: most
instances; S: rows of the segment table; C classes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import tensorflow as tf

from deeplab2_like.graph import compilation
from deeplab2_like.graph.compilation import Size
from deeplab2_like.postprocess.options import CenterRules, ClassRules
from deeplab2_like.postprocess.pixels import (
    averaging,
    centers,
    grouping,
    merging,
    semantic,
    upsampling,
)

# Fields of a `Prediction` for one image, by name.
Fields = dict[str, tf.Tensor]
# (H, W): numbers, or a tensor int [2].
CanvasSize: TypeAlias = "Sequence[int | tf.Tensor] | tf.Tensor"


def unpack_size(canvas_size: CanvasSize) -> tuple[Size, Size]:
    """Returns height and width, as numbers where they are known."""
    height, width = (
        tf.unstack(canvas_size, 2) if tf.is_tensor(canvas_size) else canvas_size
    )
    known = [tf.get_static_value(n) for n in (height, width)]
    if None in known:
        return tf.cast(height, tf.int32), tf.cast(width, tf.int32)
    return int(known[0]), int(known[1])


class InstanceInputs(NamedTuple):
    """Maps of full size from which the instances of an image are found.

    Attributes:
        heatmap: float32 [H, W].
        offset: float32 [2, H, W], (dy, dx) in pixels.
    """

    heatmap: tf.Tensor
    offset: tf.Tensor


def mask_valid(size: tuple[Size, Size], valid_size: tf.Tensor) -> tf.Tensor:
    """Marks the valid part of the canvas: bool [H, W].

    Args:
        size: (H, W).
        valid_size: int32 [2], (height, width) of the top left part.
    """
    is_row = tf.range(size[0]) < valid_size[0]
    is_column = tf.range(size[1]) < valid_size[1]
    return is_row[:, tf.newaxis] & is_column


def upsample_instance_maps(
    heatmap_hw1: tf.Tensor,
    offset_hw2: tf.Tensor,
    size: tuple[Size, Size],
    valid_height: tf.Tensor,
) -> InstanceInputs:
    """Upsamples heatmap and offsets to full size, and scales the offsets.

    Args:
        heatmap_hw1: float32 [h, w, 1].
        offset_hw2: float32 [h, w, 2], (dy, dx) in pixels of this size.
        size: (H, W).
        valid_height: int32, not a constant: see `compilation.compute_once`.
    """
    source = compilation.sizes(heatmap_hw1)[:2]
    if compilation.are_known_equal(source, size):
        return InstanceInputs(
            heatmap_hw1[..., 0], tf.stack(tf.unstack(offset_hw2, axis=-1))
        )
    steps = tf.cast(tf.stack(source), tf.float32) - 1.0
    new_steps = tf.cast(tf.stack(size), tf.float32) - 1.0
    scale = tf.where(steps > 0.0, new_steps / steps, 1.0)

    # Two results: a part of one would be copied.
    def upsample(maps_hwc: tf.Tensor) -> tf.Tensor:
        maps_chw = tf.transpose(maps_hwc, [2, 0, 1])
        return compilation.compute_once(
            valid_height,
            lambda: upsampling.upsample_maps(maps_chw, size),
            [compilation.sizes(maps_chw)[0], *size],
            tf.float32,
        )

    return InstanceInputs(
        upsample(heatmap_hw1)[0], upsample(offset_hw2 * scale)
    )


def segment_instances(
    semantic_hw: tf.Tensor,
    inputs: InstanceInputs,
    is_valid_hw: tf.Tensor,
    class_rules: ClassRules,
    center_rules: CenterRules,
    average_probability: Callable[[merging.Merged], tf.Tensor] | None = None,
) -> tuple[Fields, Fields]:
    """Finds the instances and merges them with the stuff classes.

    Args:
        semantic_hw: int32 [H, W], classes.
        inputs: Heatmap and offsets.
        is_valid_hw: bool [H, W], the valid part of the canvas.
        class_rules: The classes.
        center_rules: Which pixels are centers.
        average_probability: Returns the mean probability of the class of each
            slot over its pixels, float32 [K + C + 1]. If None, it is 1.

    Returns:
        The fields of `Prediction`, and those of the instances before merging:
        "instance" int32 [H, W], "instance_score" float32 [H, W].
    """
    found = centers.find_centers(
        tf.where(is_valid_hw, inputs.heatmap, 0.0), center_rules
    )
    is_thing = class_rules.are_things(semantic_hw) & is_valid_hw
    instance = grouping.group_pixels(found, inputs.offset, is_thing)
    merged = merging.merge(
        semantic_hw, instance, is_valid_hw, found.score, class_rules
    )
    num_classes = class_rules.num_classes
    score = tf.pad(found.score, [[0, num_classes + 1]], constant_values=1.0)
    if average_probability is not None:
        score *= average_probability(merged)
    fields = make_table(merged, score) | {
        "semantic": tf.where(
            is_valid_hw, semantic_hw, class_rules.ignore_label
        ),
        "panoptic": merged.panoptic,
        "num_dropped": merged.num_dropped,
    }
    scores = tf.concat([[0.0], found.score], axis=0)
    return fields, {
        "instance": instance,
        "instance_score": tf.gather(scores, instance),
    }


def segment_known(
    classes: semantic.SemanticMap | None,
    category_hw: tf.Tensor,
    instance_hw: tf.Tensor,
    is_valid_hw: tf.Tensor,
    category_k: tf.Tensor,
    score_k: tf.Tensor,
    class_rules: ClassRules,
) -> Fields:
    """Merges instances whose classes are known with the stuff classes.

    The score of a thing is the given one, that of stuff the mean probability
    of its class. Pixels of a thing class outside of all instances are void,
    in the semantic map too.

    Args:
        classes: Probabilities of the classes; None for systems without a
            semantic branch.
        category_hw: int32 [H, W], classes.
        instance_hw: int32 [H, W] in 0..K, 0 where there is no instance.
        is_valid_hw: bool [H, W], the valid part of the canvas.
        category_k: int32 [K], class of each instance.
        score_k: float32 [K], score of each instance.
        class_rules: The classes.
    """
    merged = merging.merge_known(
        category_hw, instance_hw, is_valid_hw, category_k, score_k, class_rules
    )
    (number,) = score_k.shape
    slot_score = tf.pad(score_k, [[0, class_rules.num_classes + 1]])
    if classes is not None:
        mean = averaging.average_by_slot(
            classes.probability, merged.slot, merged.slot_area
        )
        slot_score = tf.concat([score_k, mean[number:]], axis=0)
    named = [
        c if c in class_rules.stuff_ids else class_rules.ignore_label
        for c in range(class_rules.num_classes)
    ]
    slot_class = tf.concat(
        [category_k, [*named, class_rules.ignore_label]], axis=0
    )
    return make_table(merged, slot_score) | {
        "semantic": tf.gather(slot_class, merged.slot),
        "panoptic": merged.panoptic,
        "num_dropped": merged.num_dropped,
    }


def segment_classes(
    classes: semantic.SemanticMap,
    is_valid_hw: tf.Tensor,
    class_rules: ClassRules,
) -> Fields:
    """Makes a segment of each class that occurs; there are no instances.

    Args:
        classes: Classes and their probabilities, [H, W].
        is_valid_hw: bool [H, W], the valid part of the canvas.
        class_rules: The classes.
    """
    merged = merging.merge_classes(classes.category, is_valid_hw, class_rules)
    score = averaging.average_by_slot(
        classes.probability, merged.slot, merged.slot_area
    )
    return make_table(merged, score) | {
        "semantic": tf.where(
            is_valid_hw, classes.category, class_rules.ignore_label
        ),
        "num_dropped": merged.num_dropped,
    }


def make_table(merged: merging.Merged, slot_score: tf.Tensor) -> Fields:
    """Returns the segment table; fields of rows without a segment are 0.

    Args:
        merged: Result of merging.
        slot_score: float32 [K + C + 1], score of each slot.
    """
    columns = {
        "segment_id": merged.segment_id,
        "segment_category": tf.gather(merged.slot_category, merged.row_slot),
        "segment_score": tf.gather(slot_score, merged.row_slot),
        "segment_area": tf.gather(merged.slot_area, merged.row_slot),
    }
    table = {
        name: tf.where(merged.is_valid, values, tf.zeros_like(values))
        for name, values in columns.items()
    }
    return table | {"segment_is_valid": merged.is_valid}


def describe(
    size: tuple[Size, Size],
    class_rules: ClassRules,
    max_instances: int | None,
) -> dict[str, tf.TensorSpec]:
    """Returns shape and type of the fields of one image.

    Args:
        size: (H, W).
        class_rules: The classes.
        max_instances: K; None for systems without instances.
    """
    shape = [n if isinstance(n, int) else None for n in size]
    maps = {"semantic": tf.TensorSpec(shape, tf.int32)}
    num_rows = len(class_rules.known_ids)
    if max_instances is not None:
        maps["panoptic"] = tf.TensorSpec(shape, tf.int32)
        num_rows = max_instances + len(class_rules.stuff_ids)
    columns = {
        "segment_id": tf.int32,
        "segment_category": tf.int32,
        "segment_score": tf.float32,
        "segment_area": tf.int32,
        "segment_is_valid": tf.bool,
    }
    return maps | {
        "num_dropped": tf.TensorSpec([], tf.int32),
        **{n: tf.TensorSpec([num_rows], t) for n, t in columns.items()},
    }


def describe_instances(size: tuple[Size, Size]) -> dict[str, tf.TensorSpec]:
    """Returns shape and type of the instances before merging."""
    shape = [n if isinstance(n, int) else None for n in size]
    return {
        "instance": tf.TensorSpec(shape, tf.int32),
        "instance_score": tf.TensorSpec(shape, tf.float32),
    }


def map_images(
    process: Callable[..., Fields],
    inputs: Sequence[tf.Tensor],
    valid_size: tf.Tensor | None,
    size: tuple[Size, Size],
    description: Mapping[str, tf.TensorSpec],
) -> Fields:
    """Applies `process` to the images of a batch, one after the other.

    Args:
        process: Returns the fields of an image; takes its valid size, int32
            [2], and its part of each input.
        inputs: Tensors [B, ...]; the last one is float32.
        valid_size: int [B, 2], (height, width) of the valid part of each
            image; None for the whole images.
        size: (H, W).
        description: Shape and type of the fields of an image.

    Returns:
        The fields of all images, [B, ...] each.
    """
    batch = compilation.sizes(inputs[0])[0]
    if valid_size is None:
        valid_size = tf.broadcast_to(tf.stack(size), [batch, 2])
    valid_size = compilation.hide(valid_size, inputs[-1])
    inputs = [valid_size, *inputs]
    if isinstance(batch, int) and batch == 1:
        fields = process(*(x[0] for x in inputs))
        return {name: value[tf.newaxis] for name, value in fields.items()}
    return tf.map_fn(
        lambda image: process(*image),
        tuple(inputs),
        fn_output_signature=dict(description),
        parallel_iterations=1,
    )
