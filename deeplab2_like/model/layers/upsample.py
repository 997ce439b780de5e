# SPDX-License-Identifier: Apache-2.0
"""Upsampling from a level of a feature pyramid to a finer one.

A level of n pixels has a next one of 2 * n or 2 * n - 1 pixels, because the
levels of the backbones have (size - 1) // stride + 1 pixels. Slices and
interleaving compile everywhere and have a cheap gradient.
"""

import tensorflow as tf


def upsample_nearest(x_bhwc: tf.Tensor, size) -> tf.Tensor:
    """Repeats each pixel for the next level: pixel i comes from i // 2.

    Args:
        x_bhwc: float [B, h, w, C].
        size: (height, width) of the next level, or of this one (then `x_bhwc`
            itself is returned), numbers or int32 scalars.

    Returns:
        float [B, height, width, C].
    """
    for axis, target in ((1, size[0]), (2, size[1])):
        x_bhwc = _repeat(x_bhwc, target, axis)
    return x_bhwc


def upsample_bilinear(x_bhwc: tf.Tensor, size, factor: int = 2) -> tf.Tensor:
    """Interpolates to a level whose stride is smaller by a factor.

    A size of factor * n pixels has half-pixel centers, as in the published
    networks: pixel i is at (i + 0.5) / factor - 0.5. A smaller size has the
    pixels of the backbones: pixel i is at i / factor, so that with
    factor * (n - 1) + 1 pixels corners are on corners.

    Args:
        x_bhwc: float [B, h, w, C].
        size: (height, width) of that level, or of this one (then `x_bhwc`
            itself is returned), numbers or int32 scalars.
        factor: Ratio of the strides, at least 2.

    Returns:
        [B, height, width, C] in the dtype of `x_bhwc`, computed in float32.
    """
    x = tf.cast(x_bhwc, tf.float32)
    for axis, target in ((1, size[0]), (2, size[1])):
        x = _interpolate(x, target, axis, factor)
    return tf.cast(x, x_bhwc.dtype)


def _repeat(x: tf.Tensor, target, axis: int) -> tf.Tensor:
    before, after = x.shape[axis], tf.get_static_value(target)
    if before is not None and after is not None:
        if before == after:
            return x
        _check(before, int(after), 2)
        return _cut(tf.repeat(x, 2, axis=axis), after, axis)
    before = tf.shape(x)[axis]
    return tf.gather(x, tf.range(target) * before // target, axis=axis)


def _interpolate(x: tf.Tensor, target, axis: int, factor: int) -> tf.Tensor:
    before, after = x.shape[axis], tf.get_static_value(target)
    if before is None or after is None:
        return _interpolate_unknown(x, target, axis, factor)
    if before == after:
        return x
    _check(before, int(after), factor)
    is_centered = after == factor * before
    previous = tf.concat([_cut(x, 1, axis), _cut(x, before - 1, axis)], axis)
    following = tf.concat([_cut(x, None, axis, 1), _last(x, axis)], axis)
    positions = []
    for number in range(factor):
        shift = number / factor
        if is_centered:
            shift = (number + 0.5) / factor - 0.5
        neighbor = following if shift > 0.0 else previous
        weight = abs(shift)
        positions.append((1.0 - weight) * x + weight * neighbor)
    shape = tf.unstack(tf.shape(x))
    shape[axis] = factor * before
    whole = tf.reshape(tf.stack(positions, axis=axis + 1), shape)
    whole = tf.ensure_shape(
        whole, [*x.shape[:axis], factor * before, *x.shape[axis + 1 :]]
    )
    return _cut(whole, after, axis)


def _interpolate_unknown(
    x: tf.Tensor, target, axis: int, factor: int
) -> tf.Tensor:
    """Computes `_interpolate` by indices, for unknown sizes."""
    before = tf.shape(x)[axis]
    pixel = tf.range(target, dtype=tf.float32)
    place = tf.where(
        target == before,
        pixel,
        tf.where(
            target == factor * before,
            (pixel + 0.5) / factor - 0.5,
            pixel / factor,
        ),
    )
    last = before - 1
    place = tf.clip_by_value(place, 0.0, tf.cast(last, tf.float32))
    lower = tf.cast(tf.floor(place), tf.int32)
    weight = place - tf.cast(lower, tf.float32)
    weight = tf.reshape(weight, [-1, 1, 1] if axis == 1 else [-1, 1])
    upper = tf.gather(x, tf.minimum(lower + 1, last), axis=axis)
    lower = tf.gather(x, lower, axis=axis)
    return lower * (1.0 - weight) + upper * weight


def _check(before: int, after: int, factor: int) -> None:
    least, most = factor * (before - 1) + 1, factor * before
    if not least <= after <= most:
        raise ValueError(
            f"A level of {before} pixels cannot be followed by one of {after} "
            f"at a stride {factor} times as small - {least} to {most} are "
            "possible."
        )


def _cut(x: tf.Tensor, end, axis: int, start: int = 0) -> tf.Tensor:
    return x[:, start:end] if axis == 1 else x[:, :, start:end]


def _last(x: tf.Tensor, axis: int) -> tf.Tensor:
    return x[:, -1:] if axis == 1 else x[:, :, -1:]
