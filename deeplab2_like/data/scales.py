# SPDX-License-Identifier: Apache-2.0
"""Random scale of training images."""

import dataclasses

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Scales:
    """The scales that are drawn from, factors of height and width.

    Attributes:
        minimum: Smallest scale, > 0.
        maximum: Largest scale.
        step: The scales are equally spaced with about this distance, ends
            included; 0: any scale in [minimum, maximum).
        area_bias: Scales s are drawn in proportion to s ** area_bias: 0
            prefers none, 1 draws the area of the image evenly, -1 its octaves
            (1/2 to 1 as often as 1 to 2).
    """

    minimum: float = 1.0
    maximum: float = 1.0
    step: float = 0.25
    area_bias: float = 0.0


def count_scales(minimum: float, maximum: float, step: float) -> int:
    """Counts the scales from `minimum` to `maximum`, both included.

    deeplab2 truncates (maximum - minimum) / step + 1, which loses one scale
    when the step is a float32 a little above its decimal value (0.1); the
    small term here prevents that.
    """
    return int((maximum - minimum) / step + 1 + 1e-4)


def draw_scale(uniform: tf.Tensor, scales: Scales) -> tf.Tensor:
    """Draws the scale of an example.

    Args:
        uniform: float32 in [0, 1), usually a scalar.
        scales: What is drawn from.

    Returns:
        float32, of the shape of `uniform`.
    """
    low, high = scales.minimum, scales.maximum
    if high <= low:
        return tf.fill(tf.shape(uniform), tf.constant(low, tf.float32))
    if not scales.step:
        return _draw_from_interval(uniform, low, high, scales.area_bias)
    count = count_scales(low, high, scales.step)
    values = tf.linspace(
        tf.constant(low, tf.float32), tf.constant(high, tf.float32), count
    )
    if not scales.area_bias:
        return tf.gather(values, tf.cast(uniform * count, tf.int32))
    # Relative to the largest, so that no power overflows.
    weights = (np.linspace(low, high, count) / high) ** scales.area_bias
    ends = np.cumsum(weights / weights.sum())[:-1].astype(np.float32)
    index = tf.searchsorted(ends, tf.reshape(uniform, [-1]), "right")
    return tf.gather(values, tf.reshape(index, tf.shape(uniform)))


def _draw_from_interval(
    uniform: tf.Tensor, low: float, high: float, area_bias: float
) -> tf.Tensor:
    """Inverts the distribution function of the density s ** area_bias."""
    if not area_bias:
        return low + (high - low) * uniform
    power = area_bias + 1
    if not power:
        drawn = low * (high / low) ** uniform
    else:
        start = (low / high) ** power
        drawn = high * (start + (1.0 - start) * uniform) ** (1 / power)
    return tf.clip_by_value(drawn, low, high)
