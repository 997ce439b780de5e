# SPDX-License-Identifier: Apache-2.0
"""Bilinear resizing: corners on corners, or half-pixel centers.

Each function computes the same numbers in two ways. TensorFlow's operation is
the fastest on CPU, but XLA turns it into a convolution that is many times
slower and needs gigabytes for the logits of a large image. There the axes are
interpolated one after the other, by element-wise arithmetic in float32;
matrix products would be rounded to bfloat16 on TPUs and to TensorFloat-32 on
GPUs, which is too coarse for offsets of hundreds of pixels.
"""

import functools

import tensorflow as tf
from absl import logging

# TensorFlow has no public function for this.
try:
    from tensorflow.python.ops import control_flow_util

    _is_in_xla = control_flow_util.GraphOrParentsInXlaContext
except (ImportError, AttributeError):
    _is_in_xla = None


def resize_align_corners(x_bhwc: tf.Tensor, size) -> tf.Tensor:
    """Returns `x_bhwc` at another size, bilinearly, corners on corners.

    Pixel i of n comes to i * (new - 1) / (n - 1).

    Args:
        x_bhwc: float [B, h, w, C]; h and w may be unknown while tracing.
        size: (height, width), Python numbers or int32 scalars.

    Returns:
        [B, height, width, C] in the dtype of `x_bhwc`, computed in float32.
    """
    return _resize(x_bhwc, size, _interpolate, align_corners=True)


def resize_half_pixel(x_bhwc: tf.Tensor, size) -> tf.Tensor:
    """Returns `x_bhwc` at another size, bilinearly, edges on edges.

    Pixel i of the result reads at (i + 0.5) * n / new - 0.5, within the map.
    Smaller sizes read two places of each axis, and do not average. Arguments
    and result are as in `resize_align_corners`.
    """
    return _resize(x_bhwc, size, _read_half_pixel, half_pixel_centers=True)


def spatial_size(x_bhwc: tf.Tensor):
    """Returns (height, width), Python numbers if known, else int32 [2]."""
    height, width = x_bhwc.shape[1:3]
    if height is None or width is None:
        return tf.shape(x_bhwc)[1:3]
    return height, width


def scaled_size(size, factor: float):
    """Returns the size after scaling by a factor, corners on corners.

    A side of n pixels becomes (n - 1) * factor + 1, rounded down. deeplab2:
    `scale_mutable_sequence`.

    Args:
        size: (height, width), Python numbers, or int32 [2].
        factor: Number > 0.

    Returns:
        (height, width), Python numbers where `size` has them, else int32 [2].
    """
    if tf.is_tensor(size):
        steps = tf.cast(size - 1, tf.float64)
        return tf.cast(steps * tf.cast(factor, tf.float64) + 1.0, tf.int32)
    return tuple(int((side - 1) * factor + 1) for side in size)


def _is_compiled_by_xla() -> bool:
    """Returns whether the code being traced will be compiled by XLA."""
    if tf.executing_eagerly():
        return False
    if _is_in_xla is None:
        _warn_of_slow_xla()
        return False
    return _is_in_xla(tf.compat.v1.get_default_graph())


@functools.cache
def _warn_of_slow_xla() -> None:
    """Warns, once a process."""
    logging.warning(
        "TensorFlow %s does not report whether XLA compiles a graph. Resizing "
        "takes longer in what it compiles; the results are the same.",
        tf.__version__,
    )


def _resize(x_bhwc: tf.Tensor, size, resize_axis, **places: bool) -> tf.Tensor:
    """Resizes axis by axis under XLA, else by one operation with `places`."""
    if _is_compiled_by_xla():
        y = tf.cast(x_bhwc, tf.float32)
        for axis in (1, 2):
            y = resize_axis(y, size[axis - 1], axis)
    else:
        y = tf.raw_ops.ResizeBilinear(
            images=x_bhwc, size=tf.stack(size), **places
        )
    return tf.cast(y, x_bhwc.dtype)


def _read_half_pixel(x: tf.Tensor, size, axis: int) -> tf.Tensor:
    """Resizes one axis to `size`, edges on edges."""
    count = tf.cast(tf.shape(x)[axis], tf.float32)
    pixel = tf.range(size, dtype=tf.float32) + 0.5
    place = pixel * (count / tf.cast(size, tf.float32)) - 0.5
    return _read(x, tf.clip_by_value(place, 0.0, count - 1.0), axis)


def _interpolate(x: tf.Tensor, size, axis: int) -> tf.Tensor:
    """Resizes one axis to `size`, corners on corners."""
    before = x.shape[axis]
    after = tf.get_static_value(size)
    if before is not None and after is not None:
        if before == after:
            return x
        if before == 1:
            return tf.repeat(x, int(after), axis=axis)
        if (after - 1) % (before - 1) == 0 and after > 1:
            factor = int((after - 1) // (before - 1))
            return _enlarge_by_integer(x, factor, axis)
    return _interpolate_any(x, size, axis)


def _enlarge_by_integer(x: tf.Tensor, factor: int, axis: int) -> tf.Tensor:
    """Resizes n pixels to (n - 1) * factor + 1: no gather, cheap gradient.

    Between two pixels lie always the same `factor` - 1 positions, so one
    weighted sum of the map and of its neighbor yields all pixels of one
    position; the positions are then interleaved.
    """
    if axis == 1:
        left, right, last = x[:, :-1], x[:, 1:], x[:, -1:]
    else:
        left, right, last = x[:, :, :-1], x[:, :, 1:], x[:, :, -1:]
    step = (right - left) / factor
    positions = [left + step * i for i in range(factor)]
    between = tf.stack(positions, axis=axis + 1)
    shape = tf.unstack(tf.shape(x))
    shape[axis] = (x.shape[axis] - 1) * factor
    return tf.concat([tf.reshape(between, shape), last], axis)


def _interpolate_any(x: tf.Tensor, size, axis: int) -> tf.Tensor:
    """Resizes one axis to a size that may be unknown while tracing."""
    last = tf.shape(x)[axis] - 1
    scale = tf.cast(last, tf.float32) / tf.cast(
        tf.maximum(size - 1, 1), tf.float32
    )
    return _read(x, tf.range(size, dtype=tf.float32) * scale, axis)


def _read(x: tf.Tensor, position: tf.Tensor, axis: int) -> tf.Tensor:
    """Interpolates at positions, float32 [n], none negative, of an axis."""
    last = tf.shape(x)[axis] - 1
    lower = tf.minimum(tf.cast(position, tf.int32), last)
    upper = tf.minimum(lower + 1, last)
    weight = position - tf.cast(lower, tf.float32)
    weight = tf.reshape(weight, [-1, 1, 1] if axis == 1 else [-1, 1])
    left = tf.gather(x, lower, axis=axis)
    right = tf.gather(x, upper, axis=axis)
    return left + (right - left) * weight
