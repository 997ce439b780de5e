# SPDX-License-Identifier: Apache-2.0
"""Merging of instances and classes to one panoptic map with its segments.

H, W: image size; K: instances that there can be; C: classes.

Each pixel has a slot, and some slots are rows of the segment table: slots
0..K-1 are the instances, slots K..K+C-1 the pixels of each class outside of
instances, and the last slot, K + C, those outside of the image. Systems without
instances have K = 0.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from deeplab2_like.graph.compilation import Size
from deeplab2_like.postprocess.options import ClassRules


class Merged(NamedTuple):
    """The result of merging for one image; S rows of the segment table.

    Attributes:
        panoptic: int32 [H, W].
        slot: int32 [H, W] in 0..K+C.
        slot_category: int32 [K + C + 1], class of each slot.
        slot_area: int32 [K + C + 1], pixels of each slot; 0 for the last slot.
        row_slot: int32 [S], slot of each row, ascending.
        segment_id: int32 [S], panoptic id.
        is_valid: bool [S], the row is a segment of `panoptic`.
        num_dropped: int32, instances beyond label_divisor - 1 in their class.
    """

    panoptic: tf.Tensor
    slot: tf.Tensor
    slot_category: tf.Tensor
    slot_area: tf.Tensor
    row_slot: tf.Tensor
    segment_id: tf.Tensor
    is_valid: tf.Tensor
    num_dropped: tf.Tensor


def merge(
    semantic_hw: tf.Tensor,
    instance_hw: tf.Tensor,
    is_valid_hw: tf.Tensor,
    score_k: tf.Tensor,
    rules: ClassRules,
) -> Merged:
    """Merges instances and stuff.

    deeplab2: merge_semantic_and_instance_maps, the one in TensorFlow. The
    class of an instance is the most frequent one of its pixels, the first of
    equal ones. Instances of a class are numbered from 1 in the order of their
    first pixels. Of more than label_divisor - 1, whose ids in deeplab2 run over
    into the next class, those with the lowest scores become void.

    Args:
        semantic_hw: int32 [H, W] in 0..C-1.
        instance_hw: int32 [H, W] in 0..K, 0 on stuff and without a center.
        is_valid_hw: bool [H, W]; other pixels are void and count for nothing.
        score_k: float32 [K], score of each instance.
        rules: The classes.
    """
    (num_instances,) = score_k.shape
    count_kc = _count_classes(
        semantic_hw, instance_hw, is_valid_hw, num_instances, rules
    )
    return _merge_slots(
        semantic_hw,
        instance_hw,
        is_valid_hw,
        score_k,
        thing_class=tf.argmax(count_kc[1:], axis=1, output_type=tf.int32),
        thing_area=tf.reduce_sum(count_kc[1:], axis=1),
        class_area=count_kc[0],
        rules=rules,
    )


def merge_known(
    semantic_hw: tf.Tensor,
    instance_hw: tf.Tensor,
    is_valid_hw: tf.Tensor,
    category_k: tf.Tensor,
    score_k: tf.Tensor,
    rules: ClassRules,
) -> Merged:
    """Merges instances whose classes are known, and stuff.

    Else as `merge`. Pixels of a thing class outside of all instances are void.

    Args:
        semantic_hw: int32 [H, W] in 0..C-1.
        instance_hw: int32 [H, W] in 0..K, 0 where there is no instance.
        is_valid_hw: bool [H, W]; other pixels are void and count for nothing.
        category_k: int32 [K], class of each instance.
        score_k: float32 [K], score of each instance.
        rules: The classes.
    """
    (num_instances,) = score_k.shape
    slot = tf.where(
        instance_hw > 0, instance_hw - 1, num_instances + semantic_hw
    )
    size = num_instances + rules.num_classes
    area = _count(tf.where(is_valid_hw, slot, size), size + 1)
    return _merge_slots(
        semantic_hw,
        instance_hw,
        is_valid_hw,
        score_k,
        thing_class=category_k,
        thing_area=area[:num_instances],
        class_area=area[num_instances:size],
        rules=rules,
    )


def _merge_slots(
    semantic_hw: tf.Tensor,
    instance_hw: tf.Tensor,
    is_valid_hw: tf.Tensor,
    score_k: tf.Tensor,
    *,
    thing_class: tf.Tensor,
    thing_area: tf.Tensor,
    class_area: tf.Tensor,
    rules: ClassRules,
) -> Merged:
    """Merges instances, whose classes and areas are known, with the classes.

    Args:
        semantic_hw: As in `merge`.
        instance_hw: As in `merge`.
        is_valid_hw: As in `merge`.
        score_k: As in `merge`.
        thing_class: int32 [K], class of each instance.
        thing_area: int32 [K], pixels of each instance.
        class_area: int32 [C], pixels of each class outside of instances.
        rules: The classes.
    """
    (num_instances,) = score_k.shape
    first_pixel = _find_first_pixels(instance_hw, is_valid_hw, num_instances)
    number, is_kept = _number_instances(
        thing_class, first_pixel, score_k, thing_area > 0, rules
    )
    stuff_area = tf.gather(class_area, tf.constant(rules.stuff_ids, tf.int32))
    is_stuff = (stuff_area > 0) & (stuff_area >= rules.stuff_area_limit)
    slot = tf.where(
        instance_hw > 0, instance_hw - 1, num_instances + semantic_hw
    )
    return _name_segments(
        slot=tf.where(is_valid_hw, slot, num_instances + rules.num_classes),
        slot_category=tf.concat(
            [thing_class, tf.range(rules.num_classes), [0]], axis=0
        ),
        slot_area=tf.concat([thing_area, class_area, [0]], axis=0),
        row_slot=np.concatenate(
            [
                np.arange(num_instances),
                num_instances + np.array(rules.stuff_ids, np.int64),
            ]
        ),
        number=tf.pad(number, [[0, len(rules.stuff_ids)]]),
        is_valid=tf.concat([is_kept, is_stuff], axis=0),
        num_dropped=tf.reduce_sum(
            tf.cast((thing_area > 0) & ~is_kept, tf.int32)
        ),
        rules=rules,
    )


def merge_classes(
    semantic_hw: tf.Tensor, is_valid_hw: tf.Tensor, rules: ClassRules
) -> Merged:
    """Makes a segment of each class that occurs, however small.

    Args:
        semantic_hw: int32 [H, W] in 0..C-1.
        is_valid_hw: bool [H, W]; other pixels are void.
        rules: The classes; all but void are rows of the table.
    """
    slot = tf.where(is_valid_hw, semantic_hw, rules.num_classes)
    area = _count(slot, rules.num_classes + 1)[:-1]
    row_slot = np.array(rules.known_ids, np.int64)
    return _name_segments(
        slot=slot,
        slot_category=tf.concat([tf.range(rules.num_classes), [0]], axis=0),
        slot_area=tf.pad(area, [[0, 1]]),
        row_slot=row_slot,
        number=tf.zeros(len(row_slot), tf.int32),
        is_valid=tf.gather(area, row_slot) > 0,
        num_dropped=tf.constant(0),
        rules=rules,
    )


def _name_segments(
    *,
    slot: tf.Tensor,
    slot_category: tf.Tensor,
    slot_area: tf.Tensor,
    row_slot: np.ndarray,
    number: tf.Tensor,
    is_valid: tf.Tensor,
    num_dropped: tf.Tensor,
    rules: ClassRules,
) -> Merged:
    """Makes panoptic ids from class and number of each row.

    Args:
        slot: As in `Merged`.
        slot_category: As in `Merged`.
        slot_area: As in `Merged`.
        row_slot: As in `Merged`.
        number: int32 [S], number of the instance in its class; 0 for stuff.
        is_valid: As in `Merged`.
        num_dropped: As in `Merged`.
        rules: The classes.
    """
    row_slot = tf.constant(row_slot, tf.int32)
    category = tf.gather(slot_category, row_slot)
    segment_id = category * rules.label_divisor + number
    # Slots that are no rows are void.
    slot_id = tf.tensor_scatter_nd_update(
        tf.fill(tf.shape(slot_area), rules.void_id),
        row_slot[:, tf.newaxis],
        tf.where(is_valid, segment_id, rules.void_id),
    )
    return Merged(
        panoptic=tf.gather(slot_id, slot),
        slot=slot,
        slot_category=slot_category,
        slot_area=slot_area,
        row_slot=row_slot,
        segment_id=segment_id,
        is_valid=is_valid,
        num_dropped=num_dropped,
    )


def _count(keys: tf.Tensor, size: Size) -> tf.Tensor:
    """Counts the keys, int32 in 0..size-1: int32 [size]."""
    return tf.raw_ops.DenseBincount(
        input=tf.reshape(keys, [-1]),
        size=size,
        weights=tf.zeros([0], tf.int32),
    )


def _count_classes(
    semantic_hw: tf.Tensor,
    instance_hw: tf.Tensor,
    is_valid_hw: tf.Tensor,
    num_instances: Size,
    rules: ClassRules,
) -> tf.Tensor:
    """Counts the pixels of each class in each instance: int32 [K + 1, C]."""
    size = (num_instances + 1) * rules.num_classes
    key = instance_hw * rules.num_classes + semantic_hw
    key = tf.where(is_valid_hw, key, size)
    count = _count(key, size + 1)
    return tf.reshape(count[:size], [num_instances + 1, rules.num_classes])


def _find_first_pixels(
    instance_hw: tf.Tensor, is_valid_hw: tf.Tensor, num_instances: Size
) -> tf.Tensor:
    """Returns the raster index of each instance's first pixel: int32 [K]."""
    key = tf.where(is_valid_hw, instance_hw, 0)
    first = tf.math.unsorted_segment_min(
        tf.range(tf.size(key)), tf.reshape(key, [-1]), num_instances + 1
    )
    return first[1:]


def _number_instances(
    category: tf.Tensor,
    first_pixel: tf.Tensor,
    score: tf.Tensor,
    is_present: tf.Tensor,
    rules: ClassRules,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Numbers the instances of each class from 1, by their first pixels.

    Args:
        category: int32 [K].
        first_pixel: int32 [K], all different where present.
        score: float32 [K].
        is_present: bool [K], the instance has pixels.
        rules: The classes.

    Returns:
        int32 [K], the numbers, 0 if not kept; bool [K], the instance is kept.
    """
    index = tf.range(tf.size(category))

    def count_others(is_before_kk: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
        """Counts the others of its class before each instance: int32 [K]."""
        is_same = category[:, tf.newaxis] == category[tf.newaxis]
        is_counted = is_same & is_before_kk & counts[tf.newaxis]
        return tf.reduce_sum(tf.cast(is_counted, tf.int32), axis=1)

    is_better = (score[tf.newaxis] > score[:, tf.newaxis]) | (
        (score[tf.newaxis] == score[:, tf.newaxis])
        & (index[tf.newaxis] < index[:, tf.newaxis])
    )
    is_kept = is_present & (
        count_others(is_better, is_present) < rules.label_divisor - 1
    )
    is_earlier = first_pixel[tf.newaxis] < first_pixel[:, tf.newaxis]
    number = count_others(is_earlier, is_kept) + 1
    return tf.where(is_kept, number, 0), is_kept
