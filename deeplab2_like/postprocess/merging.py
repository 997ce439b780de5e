# SPDX-License-Identifier: Apache-2.0
"""Instances and semantic classes to one panoptic map with its segments.

H, W: image size; K: instances that there can be; C: classes; S = K + number
of stuff classes, the rows of the segment table: first the instances by their
number, then the stuff classes in order.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from deeplab2_like.postprocess import compilation
from deeplab2_like.postprocess.compilation import Size
from deeplab2_like.postprocess.rules import ClassRules

# Probabilities are summed in units of 1 / _UNITS, in blocks of rows of at
# most as many pixels, so that sums are exact and in any order the same.
_UNITS = 1 << 15


class Merged(NamedTuple):
    """The result of `merge` for one image.

    Attributes:
        panoptic: int32 [H, W].
        row: int32 [H, W], row of the segment table of each pixel; S for void.
        category: int32 [S], class of each row.
        segment_id: int32 [S].
        area: int32 [S], in pixels.
        is_valid: bool [S], the row is a segment of `panoptic`.
        num_dropped: int32, instances beyond label_divisor - 1 in their class.
    """

    panoptic: tf.Tensor
    row: tf.Tensor
    category: tf.Tensor
    segment_id: tf.Tensor
    area: tf.Tensor
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
    class of an instance is that of most of its pixels, the first of several.
    Instances of a class are numbered from 1 in the order of their first
    pixels. Of more than label_divisor - 1, which deeplab2 lets run over into
    the next class, those with the lowest scores become void.

    Args:
        semantic_hw: int32 [H, W] in 0..C-1.
        instance_hw: int32 [H, W] in 0..K, 0 on stuff and where no center is.
        is_valid_hw: bool [H, W]; other pixels are void and count for nothing.
        score_k: float32 [K], of each instance.
        rules: The classes.
    """
    (num_instances,) = compilation.sizes(score_k)
    count_kc = _count_classes(
        semantic_hw, instance_hw, is_valid_hw, num_instances, rules
    )
    thing_area = tf.reduce_sum(count_kc[1:], axis=1)
    thing_class = tf.argmax(count_kc[1:], axis=1, output_type=tf.int32)
    first_pixel = _find_first_pixels(instance_hw, is_valid_hw, num_instances)
    number, is_kept = _number_instances(
        thing_class, first_pixel, score_k, thing_area > 0, rules
    )

    stuff_class = tf.constant(rules.stuff_ids, tf.int32, [len(rules.stuff_ids)])
    stuff_area = tf.gather(count_kc[0], stuff_class)
    is_stuff = (stuff_area > 0) & (stuff_area >= rules.stuff_area_limit)
    category = tf.concat([thing_class, stuff_class], axis=0)
    is_valid = tf.concat([is_kept, is_stuff], axis=0)
    segment_id = category * rules.label_divisor + tf.concat(
        [number, tf.zeros_like(stuff_class)], axis=0
    )

    row = _find_rows(semantic_hw, instance_hw, num_instances, rules)
    row = tf.where(is_valid_hw, row, tf.size(category))
    named = tf.where(is_valid, segment_id, rules.void_id)
    named = tf.concat([named, [rules.void_id]], axis=0)
    return Merged(
        panoptic=tf.gather(named, row),
        row=row,
        category=category,
        segment_id=segment_id,
        area=tf.concat([thing_area, stuff_area], axis=0),
        is_valid=is_valid,
        num_dropped=tf.reduce_sum(
            tf.cast((thing_area > 0) & ~is_kept, tf.int32)
        ),
    )


def merge_classes(
    semantic_hw: tf.Tensor, is_valid_hw: tf.Tensor, rules: ClassRules
) -> Merged:
    """Makes a segment of each class that occurs, however small.

    Args:
        semantic_hw: int32 [H, W] in 0..C-1.
        is_valid_hw: bool [H, W]; other pixels are void.
        rules: The classes. All but void are rows of the table, in order.
    """
    row_of_class = np.full(rules.num_classes, len(rules.known_ids), np.int32)
    row_of_class[list(rules.known_ids)] = np.arange(len(rules.known_ids))
    row = tf.gather(tf.constant(row_of_class), semantic_hw)
    row = tf.where(is_valid_hw, row, len(rules.known_ids))
    area = _count(row, len(rules.known_ids) + 1)[:-1]
    category = tf.constant(rules.known_ids, tf.int32)
    segment_id = category * rules.label_divisor
    return Merged(
        panoptic=tf.gather(tf.concat([segment_id, [rules.void_id]], 0), row),
        row=row,
        category=category,
        segment_id=segment_id,
        area=area,
        is_valid=area > 0,
        num_dropped=tf.constant(0),
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
    """Gives the raster index of the first pixel: int32 [K]."""
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
        is_present: bool [K].
        rules: The classes.

    Returns:
        int32 [K], the numbers, 0 if not kept; bool [K], the instance is kept.
    """
    index = tf.range(tf.size(category))

    def count_others(is_before_kk: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
        """Counts, for each row, the columns that come before it."""
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


def _find_rows(
    semantic_hw: tf.Tensor,
    instance_hw: tf.Tensor,
    num_instances: Size,
    rules: ClassRules,
) -> tf.Tensor:
    """Gives the row of the segment table of each pixel: int32 [H, W].

    It is S for things without an instance and for the void class.
    """
    row_of_class = np.full(rules.num_classes, len(rules.stuff_ids), np.int32)
    for place, category in enumerate(rules.stuff_ids):
        row_of_class[category] = place
    stuff_row = tf.gather(tf.constant(row_of_class), semantic_hw)
    return tf.where(instance_hw > 0, instance_hw - 1, num_instances + stuff_row)


def average_by_row(
    values_hw: tf.Tensor, row_hw: tf.Tensor, area: tf.Tensor
) -> tf.Tensor:
    """Averages values over the pixels of each row of the segment table.

    Args:
        values_hw: float32 [H, W] in 0..1; they are rounded to 1 / 32768.
        row_hw: int32 [H, W] in 0..S; S is left out.
        area: int32 [S], pixels of each row.

    Returns:
        float32 [S]; 0 where the area is 0.
    """
    height, width = compilation.sizes(row_hw)
    (num_rows,) = compilation.sizes(area)
    block = _divide(_UNITS, width)
    num_blocks = compilation.ceil_divide(height, block)
    units = tf.cast(values_hw * float(_UNITS) + 0.5, tf.int32)
    key = tf.range(height)[:, tf.newaxis] // block * (num_rows + 1) + row_hw
    sums = tf.math.unsorted_segment_sum(
        tf.reshape(units, [-1]),
        tf.reshape(key, [-1]),
        num_blocks * (num_rows + 1),
    )
    sums = tf.reshape(sums, [num_blocks, num_rows + 1])[:, :num_rows]
    whole = tf.cast(tf.reduce_sum(sums // _UNITS, axis=0), tf.float32)
    part = tf.cast(tf.reduce_sum(sums % _UNITS, axis=0), tf.float32)
    total = whole + part * (1.0 / _UNITS)
    return tf.math.divide_no_nan(total, tf.cast(area, tf.float32))


def _divide(value: int, by: Size) -> Size:
    """Gives value // by, at least 1."""
    if isinstance(by, int):
        return max(1, value // by)
    return tf.maximum(1, value // by)
