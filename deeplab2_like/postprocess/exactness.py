# SPDX-License-Identifier: Apache-2.0
"""What keeps results the same in eager mode, in graphs and under XLA.

XLA contracts a product and a sum into one operation with one rounding. Where
the result decides (equal distances, peaks, winners), that must not happen.
"""

from typing import TypeAlias

import tensorflow as tf

_SMALLEST_NORMAL_BITS = 0x00800000

Size: TypeAlias = "int | tf.Tensor"


def rounded(product: tf.Tensor) -> tf.Tensor:
    """Gives a float product as it is, rounded; NaN becomes 0.

    A compiler cannot see that this changes nothing, so that it cannot merge
    the multiplication with an addition.
    """
    return tf.where(product == product, product, 0.0)


def rounded_square(values: tf.Tensor) -> tf.Tensor:
    """Gives the squares of float32 values, rounded, and at least 1e-38.

    As `rounded`, with one integer operation.
    """
    bits = tf.bitcast(values * values, tf.int32)
    return tf.bitcast(tf.maximum(bits, _SMALLEST_NORMAL_BITS), tf.float32)


def sizes(tensor: tf.Tensor) -> tuple[Size, ...]:
    """Gives the size of each axis: a number where known, else a tensor.

    Under XLA both are constants.
    """
    known = tensor.shape.as_list()
    if None not in known:
        return tuple(known)
    dynamic = tf.unstack(tf.shape(tensor))
    return tuple(
        size if number is None else number
        for number, size in zip(known, dynamic, strict=True)
    )


def ceil_divide(size: Size, by: Size) -> Size:
    """Gives size / by, rounded up."""
    return -(-size // by)


def are_known_equal(some: tuple[Size, ...], others: tuple[Size, ...]) -> bool:
    """Whether sizes are known and equal."""
    return all(
        isinstance(a, int) and isinstance(b, int) and a == b
        for a, b in zip(some, others, strict=True)
    )
