# SPDX-License-Identifier: Apache-2.0
"""Instance centers: the peaks of the center heatmap.

H, W: image size; K: the most centers that are kept; N = H * W.
"""

from typing import NamedTuple

import tensorflow as tf

from deeplab2_like.graph import compilation
from deeplab2_like.graph.compilation import Size
from deeplab2_like.postprocess.options import CenterRules

# The best K of N values are among the best K blocks of this many values.
_BLOCK = 64


class Centers(NamedTuple):
    """The centers of one image, in raster order, then unused places.

    Attributes:
        y: int32 [K], row in pixels.
        x: int32 [K], column in pixels.
        score: float32 [K], value of the heatmap; 0 where there is no center.
        count: int32, number of centers.
    """

    y: tf.Tensor
    x: tf.Tensor
    score: tf.Tensor
    count: tf.Tensor


def find_centers(heatmap_hw: tf.Tensor, rules: CenterRules) -> Centers:
    """Finds the best peaks of the heatmap.

    Panoptic-DeepLab (arXiv:1911.10194), section 3.3. Of more than K peaks the
    K highest are kept, equal ones by the lower raster index, where deeplab2
    keeps those above the K-th (and on CPU fewer).

    Args:
        heatmap_hw: float32 [H, W].
        rules: Which pixels are centers.
    """
    limit = rules.limit
    peaks = suppress_non_maxima(
        heatmap_hw, rules.center_threshold, rules.nms_kernel
    )
    # Blocks end with rows: cutting across rows is slow.
    width = compilation.sizes(peaks)[1]
    padded_width = compilation.ceil_divide(width, _BLOCK) * _BLOCK
    flat = tf.reshape(tf.pad(peaks, [[0, 0], [0, padded_width - width]]), [-1])
    index = _find_largest(flat, limit)
    # Values that are not peaks go to the end.
    size = tf.size(flat)
    index = tf.sort(tf.where(tf.gather(flat, index) > 0.0, index, size))
    is_real = index < size
    index = tf.where(is_real, index, 0)
    score = tf.where(is_real, tf.gather(flat, index), 0.0)
    missing = limit - tf.size(index)
    y, x, score = (
        tf.ensure_shape(tf.pad(values, [[0, missing]]), [limit])
        for values in (index // padded_width, index % padded_width, score)
    )
    count = tf.reduce_sum(tf.cast(is_real, tf.int32))
    return Centers(y, x, score, count)


def suppress_non_maxima(
    heatmap_hw: tf.Tensor, threshold: float | tf.Tensor, nms_kernel: int
) -> tf.Tensor:
    """Keeps values that are the largest around and above the threshold.

    Args:
        heatmap_hw: float32 [H, W].
        threshold: Values must be larger than this; a number, or float32 [].
        nms_kernel: Side of the square around each value, in pixels; if even,
            it reaches farther down and to the right.

    Returns:
        float32 [H, W], 0 where the value was not kept. All of several equal
        maxima are kept.
    """
    values = tf.where(heatmap_hw > threshold, heatmap_hw, 0.0)
    largest = _slide_maximum(values, nms_kernel, axis=0)
    largest = _slide_maximum(largest, nms_kernel, axis=1)
    return tf.where(values == largest, values, 0.0)


def _slide_maximum(values: tf.Tensor, kernel: int, axis: int) -> tf.Tensor:
    """Returns the maximum of a window that slides along an axis of a matrix.

    The window is doubled until it is long enough; zeros lie outside.
    """
    length = compilation.sizes(values)[axis]
    padding = [[0, 0], [0, 0]]
    padding[axis] = [(kernel - 1) // 2, kernel // 2]
    values = tf.pad(values, padding)
    available = length + kernel - 1
    window = 1
    while window < kernel:
        step = min(window, kernel - window)
        available -= step
        values = tf.maximum(
            _take(values, 0, available, axis),
            _take(values, step, available, axis),
        )
        window += step
    return values


def _take(values: tf.Tensor, start: int, count: Size, axis: int) -> tf.Tensor:
    part = slice(start, start + count)
    return values[part] if axis == 0 else values[:, part]


def _find_largest(values: tf.Tensor, count: int) -> tf.Tensor:
    """Returns the places of the `count` largest of N values, or of all.

    Of equal values the first are taken. Each of the largest is in one of the
    `count` blocks with the largest maxima, so that few values are sorted.

    Args:
        values: float32 [N], N a multiple of _BLOCK.
        count: Number of places.
    """
    (size,) = compilation.sizes(values)
    values = tf.reshape(values, [-1, _BLOCK])
    _, block = tf.math.top_k(
        tf.reduce_max(values, axis=1), _smaller(count, size // _BLOCK)
    )
    block = tf.sort(block)
    candidates = tf.reshape(tf.gather(values, block), [-1])
    place = block[:, tf.newaxis] * _BLOCK + tf.range(_BLOCK)
    _, chosen = tf.math.top_k(candidates, _smaller(count, size))
    return tf.gather(tf.reshape(place, [-1]), chosen)


def _smaller(count: int, size: Size) -> Size:
    if isinstance(size, int):
        return min(count, size)
    return tf.minimum(count, size)
