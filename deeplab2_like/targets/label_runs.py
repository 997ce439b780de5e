# SPDX-License-Identifier: Apache-2.0
"""Label maps as runs, which are stretches of equal values along a row.

A label map of two million pixels has some ten thousand runs. Properties of its
segments are computed from runs, after one pass over the pixels, and maps are
drawn run by run. The cost does not depend on the number of segments. For host
code (tf.data): sizes are dynamic.

N pixels in raster order, R runs.
"""

from typing import NamedTuple

import tensorflow as tf

# Bits of a drawn code for the place within a run.
_PLACE_BITS = 15
MAX_SIDE = 1 << _PLACE_BITS
# Largest number that can be drawn; the smallest is -MAX_CODE.
MAX_CODE = (1 << (31 - _PLACE_BITS)) - 2
_OFFSET_BITS = 16


class LabelRuns(NamedTuple):
    """The runs of a label map in raster order; all fields int64 [R].

    Attributes:
        label: Value of the pixels.
        y: Row.
        x: First column.
        length: Number of pixels.
    """

    label: tf.Tensor
    y: tf.Tensor
    x: tf.Tensor
    length: tf.Tensor


def find_runs(labels_hw: tf.Tensor) -> LabelRuns:
    """Finds the runs of a label map.

    Args:
        labels_hw: int32 [H, W], H and W at most MAX_SIDE.
    """
    height, width = tf.unstack(tf.shape(labels_hw, tf.int64))
    label = tf.reshape(labels_hw, [-1])
    is_start = tf.concat(
        [
            tf.fill([tf.minimum(tf.size(label), 1)], True),
            label[1:] != label[:-1],
        ],
        axis=0,
    )
    # Every row begins a run; rows without a pixel have no first column.
    rows = tf.range(tf.where(width > 0, height, 0)) * width
    is_start = tf.tensor_scatter_nd_update(
        is_start, rows[:, tf.newaxis], tf.fill([tf.size(rows)], True)
    )
    start = tf.where(is_start)[:, 0]
    end = tf.concat([start[1:], [height * width]], axis=0)
    end = end[: tf.size(start)]
    y = start // tf.maximum(width, 1)
    return LabelRuns(
        label=tf.cast(tf.gather(label, start), tf.int64),
        y=y,
        x=start - y * width,
        length=end - start,
    )


def draw_packed_codes(runs: LabelRuns, codes: tf.Tensor) -> tf.Tensor:
    """Writes a number into each pixel of each run, for `unpack_codes`.

    Args:
        runs: The runs.
        codes: int32 [R], -MAX_CODE to MAX_CODE.

    Returns:
        int32 [N].
    """
    # RaggedRange is TensorFlow's only fast way to repeat values by different
    # numbers, but it counts up. It counts in the low bits.
    start = tf.cast(codes, tf.int32) * MAX_SIDE
    _, values = tf.raw_ops.RaggedRange(
        starts=start,
        limits=start + tf.cast(runs.length, tf.int32),
        deltas=1,
    )
    return values


def unpack_codes(values: tf.Tensor) -> tf.Tensor:
    """Returns the numbers that were drawn, int32; runs on any device."""
    return tf.bitwise.right_shift(values, _PLACE_BITS)


def draw_codes(runs: LabelRuns, codes: tf.Tensor) -> tf.Tensor:
    """Writes a number into each pixel of each run.

    Args:
        runs: The runs.
        codes: int32 [R], -MAX_CODE to MAX_CODE.

    Returns:
        int32 [N].
    """
    return unpack_codes(draw_packed_codes(runs, codes))


def draw_packed_offsets(
    runs: LabelRuns, dy: tf.Tensor, dx: tf.Tensor
) -> tf.Tensor:
    """Writes the vectors to one point per run into the pixels of the run.

    Args:
        runs: The runs.
        dy: int64 [R], rows from the run to its point, less than MAX_SIDE away.
        dx: int64 [R], columns from the first pixel of the run to its point,
            less than MAX_SIDE away from each of its pixels.

    Returns:
        int32 [N], for `unpack_offsets`.
    """
    # dx in the high half, which counts down from pixel to pixel, dy in the
    # low half.
    low = tf.bitwise.bitwise_and(dy, (1 << _OFFSET_BITS) - 1)
    start = dx * (1 << _OFFSET_BITS) + low
    down = -1 << _OFFSET_BITS
    limit = start + down * runs.length
    _, values = tf.raw_ops.RaggedRange(
        starts=tf.cast(start, tf.int32),
        limits=tf.cast(limit, tf.int32),
        deltas=down,
    )
    return values


def unpack_offsets(values: tf.Tensor) -> tf.Tensor:
    """Returns the vectors that were drawn; runs on any device.

    Args:
        values: int32 of any shape.

    Returns:
        float32 [..., 2], (dy, dx); dx falls by one from pixel to pixel.
    """
    low = tf.bitwise.left_shift(values, _OFFSET_BITS)
    pairs = tf.stack([low, values], axis=-1)
    return tf.cast(tf.bitwise.right_shift(pairs, _OFFSET_BITS), tf.float32)
