# SPDX-License-Identifier: Apache-2.0
"""Small answers: the map as a PNG in COCO's coding and a table of the segments.

They say what `results.PanopticResult` makes of the maps.
"""

from collections.abc import Sequence

import tensorflow as tf

from deeplab2_like.exports import rows
from deeplab2_like.exports.rows import Tensors
from deeplab2_like.inference import any_size
from deeplab2_like.labels import descriptor as descriptor_lib

# More ids are searched for, not looked up in a table of all.
_MAX_TABLE = 1 << 22
# A third larger than the smallest for label maps, in a quarter of the time.
_COMPRESSION = 3


def make_answer(
    descriptor: descriptor_lib.DatasetDescriptor, num_rows: int
) -> rows.Answer:
    """Makes the answer whose outputs `ServingModule` lists.

    Args:
        descriptor: The data set.
        num_rows: Rows of the table of segments.
    """
    spec = {
        "panoptic_png_bytes": tf.TensorSpec([], tf.string),
        "num_segments": tf.TensorSpec([], tf.int32),
        "segment_id": tf.TensorSpec([num_rows], tf.int32),
        "segment_category_id": tf.TensorSpec([num_rows], tf.int32),
        "segment_isthing": tf.TensorSpec([num_rows], tf.bool),
        "segment_score": tf.TensorSpec([num_rows], tf.float32),
        "segment_area": tf.TensorSpec([num_rows], tf.int32),
        "height": tf.TensorSpec([], tf.int32),
        "width": tf.TensorSpec([], tf.int32),
    }
    return rows.Answer(spec, lambda _, outputs: _describe(outputs, descriptor))


def _describe(
    outputs: Tensors, descriptor: descriptor_lib.DatasetDescriptor
) -> Tensors:
    """Makes the answer from the outputs of `restore_prediction` for an image.

    Args:
        outputs: The outputs, without the axis of the batch.
        descriptor: The data set.
    """
    table, count = order_segments(outputs)
    number = tf.range(1, tf.size(table["id"]) + 1)
    is_used = number <= count
    ids_hw = get_ids(outputs, descriptor)
    parts = [number % 256, number // 256 % 256, number // 65536]
    colors_n3 = tf.cast(tf.stack(parts, axis=1), tf.uint8)[:count]
    rgb_hw3 = replace_ids(
        ids_hw, table["id"][:count], colors_n3, (0, 0, 0), descriptor
    )
    classes = tf.clip_by_value(table["category"], 0, descriptor.num_classes - 1)
    is_thing = [descriptor.is_thing(i) for i in range(descriptor.num_classes)]
    shape = tf.shape(ids_hw)
    return {
        "panoptic_png_bytes": tf.io.encode_png(rgb_hw3, _COMPRESSION),
        "num_segments": count,
        "segment_id": tf.where(is_used, number, 0),
        "segment_category_id": tf.where(
            is_used, tf.gather(tf.constant(descriptor.category_ids), classes), 0
        ),
        "segment_isthing": is_used & tf.gather(tf.constant(is_thing), classes),
        "segment_score": table["score"],
        "segment_area": table["area"],
        "height": shape[0],
        "width": shape[1],
    }


def order_segments(outputs: Tensors) -> tuple[Tensors, tf.Tensor]:
    """Sorts the table of segments so that those that are segments come first.

    Args:
        outputs: Outputs of `restore_prediction`, without the axis of the batch.

    Returns:
        The columns "id", "category", "score" and "area", [S]; and how many
        rows are segments, int32 scalar.
    """
    is_valid = outputs["segment_is_valid"]
    order = tf.argsort(tf.cast(~is_valid, tf.int32), stable=True)
    count = tf.reduce_sum(tf.cast(is_valid, tf.int32))
    table = {
        name: tf.gather(outputs[f"segment_{name}"], order)
        for name in ("id", "category", "score", "area")
    }
    return table, count


def get_ids(
    outputs: Tensors, descriptor: descriptor_lib.DatasetDescriptor
) -> tf.Tensor:
    """Returns the map of panoptic ids; of classes where there is none."""
    ids_hw = outputs.get("panoptic")
    if ids_hw is None:
        ids_hw = outputs["semantic"] * descriptor.label_divisor
    return ids_hw


def replace_ids(
    ids_hw: tf.Tensor,
    segment_ids_n: tf.Tensor,
    values_nc: tf.Tensor,
    other: Sequence[int],
    descriptor: descriptor_lib.DatasetDescriptor,
) -> tf.Tensor:
    """Replaces ids by values, such as colors.

    Args:
        ids_hw: int32 [H, W].
        segment_ids_n: int32 [N], ids of the segments.
        values_nc: [N, C], their values.
        other: C numbers, the value of other ids.
        descriptor: The data set.

    Returns:
        [H, W, C], the dtype of the values.
    """
    num_ids = any_size.count_ids(descriptor)
    # The first row stands for ids that are not those of a segment.
    rest = tf.constant([other], values_nc.dtype)
    if num_ids <= _MAX_TABLE:
        number = tf.range(1, tf.size(segment_ids_n) + 1)
        row = tf.scatter_nd(segment_ids_n[:, tf.newaxis], number, [num_ids])
        values = tf.gather(tf.concat([rest, values_nc], axis=0), row)
        return tf.gather(values, ids_hw)
    order = tf.argsort(segment_ids_n)
    known = tf.concat([[-1], tf.gather(segment_ids_n, order)], axis=0)
    values = tf.concat([rest, tf.gather(values_nc, order)], axis=0)
    place = tf.searchsorted(known, tf.reshape(ids_hw, [-1]), side="right") - 1
    place = tf.reshape(place, tf.shape(ids_hw))
    return tf.gather(
        values, tf.where(tf.gather(known, place) == ids_hw, place, 0)
    )
