# SPDX-License-Identifier: Apache-2.0
"""Training targets of top-down systems: boxes, and the map of instances.

For tf.data on the host; sizes are dynamic, except for the number of slots.
The mask of an instance is where the map has its number: there is no array of
masks.

R runs of equal pixels, U different panoptic ids, M slots for instances.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.targets import label_runs

# Value of `semantic` where a pixel is not scored.
NO_CHANNEL = -1


def compute_box_mask_targets(
    panoptic_hw: tf.Tensor,
    *,
    thing_ids: Sequence[int],
    ignore_label: int,
    label_divisor: int,
    max_instances: int,
    channels: Sequence[int],
) -> dict[str, tf.Tensor]:
    """Computes the targets of one label map.

    Crowds are not instances. If there are more instances than slots, the
    largest are kept, and of equally large ones the first. They fill the slots
    in the order of their first pixels.

    Args:
        panoptic_hw: As in `center_offset.compute_center_offset_targets`.
        thing_ids: Classes with instances.
        ignore_label: Class of void pixels.
        label_divisor: Greater than the largest instance number.
        max_instances: M.
        channels: Channel of the semantic logits for each class 0, 1, ...;
            NO_CHANNEL for classes that are not scored.

    Returns:
        * semantic: int32 [H, W], the channel; NO_CHANNEL where void.
        * instance: int32 [H, W], 1 + slot of the instance; 0 elsewhere.
        * boxes: float32 [M, 4], (y1, x1, y2, x2) in pixels, around the
          pixels of the instance; 0 in empty slots.
        * box_class: int32 [M], index in `thing_ids`; -1 in empty slots.
        * num_dropped: int32 scalar, number of instances without a slot.

    Raises:
        DataError: The shape of the label is not allowed.
    """
    _check(panoptic_hw, max_instances)
    panoptic_hw = tf.cast(panoptic_hw, tf.int32)
    shape = tf.shape(panoptic_hw)
    runs = label_runs.find_runs(panoptic_hw)
    label, of_run = tf.unique(runs.label)
    category = label // label_divisor
    thing_class = _look_up(category, _index(thing_ids))
    is_instance = (thing_class >= 0) & (label % label_divisor != 0)
    is_instance &= category != ignore_label
    chosen = _choose(runs, of_run, is_instance, max_instances)
    slot = tf.scatter_nd(
        chosen[:, tf.newaxis],
        1 + tf.range(tf.size(chosen)),
        tf.shape(label),
    )
    channel = _look_up(category, np.array(list(channels), np.int32))
    channel = tf.where(category == ignore_label, NO_CHANNEL, channel)

    def draw(of_segment: tf.Tensor) -> tf.Tensor:
        codes = label_runs.draw_codes(runs, tf.gather(of_segment, of_run))
        return tf.ensure_shape(tf.reshape(codes, shape), panoptic_hw.shape)

    empty = [[0, max_instances - tf.size(chosen)]]
    boxes = tf.gather(_find_boxes(runs, of_run, tf.size(label)), chosen)
    box_class = tf.gather(thing_class, chosen)
    num_instances = tf.reduce_sum(tf.cast(is_instance, tf.int32))
    return {
        "semantic": draw(channel),
        "instance": draw(slot),
        "boxes": tf.ensure_shape(
            tf.pad(boxes, [*empty, [0, 0]]), [max_instances, 4]
        ),
        "box_class": tf.ensure_shape(
            tf.pad(box_class, empty, constant_values=-1), [max_instances]
        ),
        "num_dropped": num_instances - tf.size(chosen),
    }


def _check(panoptic_hw: tf.Tensor, max_instances: int) -> None:
    shape = panoptic_hw.shape
    limit = label_runs.MAX_SIDE
    is_small = all(side is None or side <= limit for side in shape)
    if shape.rank != 2 or not is_small:
        raise errors.DataError(
            f"The panoptic label has shape {shape}. It must be [height, "
            f"width], up to {limit} pixels each: give one image, without "
            "channels."
        )
    if not 1 <= max_instances < limit:
        raise errors.DataError(
            f"max_instances is {max_instances}. It must be 1 to {limit - 1}."
        )


def _index(ids: Sequence[int]) -> np.ndarray:
    """Returns a table with the place of each id; -1 for other numbers."""
    table = np.full(max(ids, default=-1) + 1, -1, np.int32)
    table[list(ids)] = np.arange(len(ids))
    return table


def _look_up(keys: tf.Tensor, table: np.ndarray) -> tf.Tensor:
    """Returns int32 [U] from a table; -1 for keys beyond it."""
    padded = tf.constant(np.append(table, np.int32(-1)))
    is_known = (keys >= 0) & (keys < len(table))
    return tf.gather(padded, tf.where(is_known, keys, len(table)))


def _choose(
    runs: label_runs.LabelRuns,
    of_run: tf.Tensor,
    is_instance: tf.Tensor,
    limit: int,
) -> tf.Tensor:
    """Lists the segments that have a slot, in order: int32 [<= M]."""
    area = tf.math.unsorted_segment_sum(
        runs.length, of_run, tf.size(is_instance)
    )
    area = tf.where(is_instance, area, 0)
    number = tf.minimum(limit, tf.size(is_instance))
    best = tf.math.top_k(area, number)
    return tf.sort(tf.boolean_mask(best.indices, best.values > 0))


def _find_boxes(
    runs: label_runs.LabelRuns, of_run: tf.Tensor, number: tf.Tensor
) -> tf.Tensor:
    """Returns the box of each segment: float32 [U, 4]."""
    sides = [
        tf.math.unsorted_segment_min(runs.y, of_run, number),
        tf.math.unsorted_segment_min(runs.x, of_run, number),
        tf.math.unsorted_segment_max(runs.y + 1, of_run, number),
        tf.math.unsorted_segment_max(runs.x + runs.length, of_run, number),
    ]
    return tf.cast(tf.stack(sides, axis=1), tf.float32)
