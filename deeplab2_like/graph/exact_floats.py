# SPDX-License-Identifier: Apache-2.0
"""Float arithmetic that is equal, bit for bit, in eager mode, graphs and XLA.

Where floats decide (which box is kept, which pixel belongs to a mask), results
must not depend on how a function is run. These differences between the modes
are avoided here and in the code that uses this module:

* XLA contracts a product and a sum into one operation with one rounding; also
  (1 + x) * y, to x * y + y. See `rounded`.
* Graphs add up a + b + c in any order. `rounded(a + b) + c` has a fixed one.
* Graphs and XLA replace a division by a constant with a product, and 1 / x
  with an approximation.
* Each library has an exponential and a logarithm of its own.
* Sums over an axis are added up in different orders.
"""

import math

import tensorflow as tf

# Range of the exponential's argument; no result in it is denormal.
_LOWEST, _HIGHEST = -87.0, 88.0
# Fractional bits of the argument, and of all numbers computed from it.
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
    """Returns float32 [...] products or sums, rounded; NaN becomes 0.

    Compilers do not recognize that this changes nothing, so they cannot merge
    a multiplication with an addition.
    """
    return tf.where(values == values, values, 0.0)


def rounded_square(values: tf.Tensor) -> tf.Tensor:
    """Returns the squares of float32 [...], rounded, and at least 1e-38.

    Like `rounded`, with one integer operation.
    """
    bits = tf.bitcast(values * values, tf.int32)
    return tf.bitcast(tf.maximum(bits, _SMALLEST_NORMAL_BITS), tf.float32)


def exp(values: tf.Tensor) -> tf.Tensor:
    """Returns the exponential of float32 [...], limited to -87..88.

    NaN gives 1. Computed in integers, because compilers that know that no
    value is NaN simplify `rounded`.
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
    # In 1..2: the bits of a float below the one that is not stored.
    dropped = _BITS - _MANTISSA_BITS
    mantissa = _shift(series + (1 << (dropped - 1)), dropped)
    bits = (whole + (_EXPONENT_BIAS - 1)) * (1 << _MANTISSA_BITS) + mantissa
    return tf.bitcast(tf.cast(bits, tf.int32), tf.float32)


def _shift(values: tf.Tensor, bits: int) -> tf.Tensor:
    """Returns int64 values / 2 ** bits, rounded down."""
    return tf.bitwise.right_shift(values, tf.constant(bits, tf.int64))


def sigmoid(values: tf.Tensor) -> tf.Tensor:
    """Returns 1 / (1 + exp(-x)) of float32 [...]; NaN gives 0."""
    odds = exp(values)
    return tf.where(values == values, odds / (odds + 1.0), 0.0)


def softmax(logits: tf.Tensor) -> tf.Tensor:
    """Returns the softmax of float32 [..., C] over the last axis, C static."""
    logits = tf.where(logits == logits, logits, float("-inf"))
    largest = tf.reduce_max(logits, axis=-1, keepdims=True)
    # Infinite logits: minus infinity minus itself would be NaN.
    powers = exp(tf.where(logits == largest, 0.0, logits - largest))
    # Sums of integers are the same in every order.
    units = tf.cast(powers * float(1 << _BITS), tf.int64)
    total = tf.reduce_sum(units, axis=-1, keepdims=True)
    return powers / (tf.cast(total, tf.float32) * 0.5**_BITS)
