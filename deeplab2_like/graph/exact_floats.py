# SPDX-License-Identifier: Apache-2.0
"""Floats that come out the same, bit for bit, in eager mode, graphs and XLA.

Where floats decide (which box is kept, which pixel belongs to a mask), results
must not depend on how a function is run. What differs between the modes, and
is avoided here and where this is used:

* XLA contracts a product and a sum into one operation with one rounding; also
  (1 + x) * y, to x * y + y. See `rounded`.
* Graphs add up a + b + c in any order. `rounded(a + b) + c` has one.
* Graphs and XLA replace a division by a constant with a product, and 1 / x
  with an approximation.
* Each library has an exponential and a logarithm of its own.
* Sums over an axis are added up in different orders.
"""

import math

import tensorflow as tf

# The exponential is computed between these, where no float is denormal.
_LOWEST, _HIGHEST = -87.0, 88.0
# Bits behind the point of its argument, and of all that follows.
_INPUT_BITS = 24
_BITS = 30
_LOG_2 = math.log(2.0)
_LOG2_OF_E = round((1 << _BITS) / _LOG_2)
# The series of 2 ** (1/2 + x), from the highest power down.
_COEFFICIENTS = tuple(
    round((1 << _BITS) * math.sqrt(2.0) * _LOG_2**n / math.factorial(n))
    for n in range(7, -1, -1)
)
_MANTISSA_BITS = 23
_EXPONENT_BIAS = 127
_SMALLEST_NORMAL_BITS = 1 << _MANTISSA_BITS


def rounded(values: tf.Tensor) -> tf.Tensor:
    """Returns a float product, or sum, as it is, rounded; NaN becomes 0.

    A compiler cannot see that this changes nothing, so that it cannot merge
    the multiplication with an addition.
    """
    return tf.where(values == values, values, 0.0)


def rounded_square(values: tf.Tensor) -> tf.Tensor:
    """Returns the squares of float32 values, rounded, and at least 1e-38.

    As `rounded`, with one integer operation.
    """
    bits = tf.bitcast(values * values, tf.int32)
    return tf.bitcast(tf.maximum(bits, _SMALLEST_NORMAL_BITS), tf.float32)


def exp(values: tf.Tensor) -> tf.Tensor:
    """Returns the exponential of float32 values, to the last bit.

    Between -87 and 88; beyond, that of these. NaN gives 1. In integers:
    where a compiler knows that no value is NaN, it sees through `rounded`.
    """
    values = tf.where(values == values, values, 0.0)
    values = tf.minimum(tf.maximum(values, _LOWEST), _HIGHEST)
    fixed = tf.cast(tf.round(values * float(1 << _INPUT_BITS)), tf.int64)
    # As a power of 2: a whole exponent, and the rest in -1/2..1/2.
    exponent = _shift(fixed * _LOG2_OF_E, _INPUT_BITS)
    whole = _shift(exponent, _BITS)
    rest = exponent - whole * (1 << _BITS) - (1 << (_BITS - 1))
    series = _COEFFICIENTS[0] + tf.zeros_like(rest)
    for coefficient in _COEFFICIENTS[1:]:
        series = _shift(series * rest, _BITS) + coefficient
    # In 1..2: the bits of a float after the one that is not stored.
    dropped = _BITS - _MANTISSA_BITS
    mantissa = _shift(series + (1 << (dropped - 1)), dropped)
    bits = (whole + (_EXPONENT_BIAS - 1)) * (1 << _MANTISSA_BITS) + mantissa
    return tf.bitcast(tf.cast(bits, tf.int32), tf.float32)


def _shift(values: tf.Tensor, bits: int) -> tf.Tensor:
    """Returns int64 values / 2 ** bits, rounded down."""
    return tf.bitwise.right_shift(values, tf.constant(bits, tf.int64))


def sigmoid(values: tf.Tensor) -> tf.Tensor:
    """Returns 1 / (1 + exp(-x)) of float32 values; NaN gives 0."""
    odds = exp(values)
    return tf.where(values == values, odds / (odds + 1.0), 0.0)


def softmax(logits: tf.Tensor) -> tf.Tensor:
    """Returns the softmax of float32 [..., C] over the last axis, C static."""
    logits = tf.where(logits == logits, logits, float("-inf"))
    largest = tf.reduce_max(logits, axis=-1, keepdims=True)
    # Infinite logits: minus infinity less itself is not a number.
    powers = exp(tf.where(logits == largest, 0.0, logits - largest))
    # Sums of integers are the same in every order.
    units = tf.cast(powers * float(1 << _BITS), tf.int64)
    total = tf.reduce_sum(units, axis=-1, keepdims=True)
    return powers / (tf.cast(total, tf.float32) * 0.5**_BITS)
