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

# Bits of `draw_codes` and `draw_offsets` for the place within a run.
_PLACE_BITS = 15
MAX_SIDE = 1 << _PLACE_BITS
# Largest number, and of negative ones the smallest, of `draw_codes`.
MAX_CODE = 1 << _PLACE_BITS


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
    is_start = tf.concat(
        [
            tf.ones([height, 1], tf.bool),
            labels_hw[:, 1:] != labels_hw[:, :-1],
        ],
        axis=1,
    )
    # Maps without a pixel have no first column.
    is_start = tf.reshape(is_start[:, :width], [-1])
    start = tf.where(is_start)[:, 0]
    end = tf.concat([start[1:], [height * width]], axis=0)
    end = end[: tf.size(start)]
    y = start // tf.maximum(width, 1)
    return LabelRuns(
        label=tf.cast(tf.gather(tf.reshape(labels_hw, [-1]), start), tf.int64),
        y=y,
        x=start - y * width,
        length=end - start,
    )


def draw_codes(runs: LabelRuns, codes: tf.Tensor) -> tf.Tensor:
    """Writes a number into each pixel of each run.

    Args:
        runs: The runs.
        codes: int32 [R], -MAX_CODE to MAX_CODE.

    Returns:
        int32 [N].
    """
    # RaggedRange is TensorFlow's only fast way to repeat values by different
    # numbers, but it counts up. It counts in the low bits, which are removed.
    start = tf.cast(codes, tf.int32) * MAX_SIDE
    _, values = tf.raw_ops.RaggedRange(
        starts=start,
        limits=start + tf.cast(runs.length, tf.int32),
        deltas=1,
    )
    return tf.bitwise.right_shift(values, _PLACE_BITS)


def draw_offsets(
    runs: LabelRuns, dy: tf.Tensor, dx: tf.Tensor, is_drawn: tf.Tensor
) -> tf.Tensor:
    """Writes the vectors to one point per run into the pixels of the run.

    Args:
        runs: The runs.
        dy: int64 [R], rows from the run to its point, less than MAX_SIDE away.
        dx: int64 [R], columns from the first pixel of the run to its point,
            less than MAX_SIDE away.
        is_drawn: bool [R]; the pixels of other runs get 0.

    Returns:
        int16 [N, 2], (dy, dx); dx falls by one from pixel to pixel.
    """
    # One 64-bit number a pixel: dx in the high half, dy in the low half, both
    # above _PLACE_BITS. Runs that are drawn count down in dx; the others
    # count in the bits that the shift removes.
    low = tf.bitwise.bitwise_and(dy * MAX_SIDE, (1 << 32) - 1)
    down = tf.constant(-1 << (32 + _PLACE_BITS), tf.int64)
    start = tf.where(is_drawn, tf.bitwise.bitwise_or(-dx * down, low), 0)
    step = tf.where(is_drawn, down, 1)
    _, packed = tf.raw_ops.RaggedRange(
        starts=start, limits=start + step * runs.length, deltas=step
    )
    pairs = tf.bitcast(packed, tf.int32)
    return tf.cast(tf.bitwise.right_shift(pairs, _PLACE_BITS), tf.int16)
