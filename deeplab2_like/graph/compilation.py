# SPDX-License-Identifier: Apache-2.0
"""What makes compiled code fast, and works without a compiler too.

What makes it exact is in `exact_floats`.

XLA merges cheap operations into each of their uses and so computes them many
times, in an order of access that suits the use: `compute_once`.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import tensorflow as tf

Size: TypeAlias = "int | tf.Tensor"


def compute_once(
    number: tf.Tensor,
    compute: Callable[[], tf.Tensor],
    shape: Sequence[Size],
    dtype: tf.DType,
) -> tf.Tensor:
    """Returns compute() if a number is positive, else zeros; computes it once.

    Args:
        number: int32, not a constant: see `hide`.
        compute: Returns a tensor.
        shape: Its shape.
        dtype: Its type.
    """

    def compute_dearly() -> tf.Tensor:
        # XLA computes both branches when they are cheap; a sort never is.
        smaller = tf.sort(tf.stack([number, 1]))[0]
        return compute() + tf.cast(tf.minimum(smaller, 0), dtype)

    return tf.cond(number > 0, compute_dearly, lambda: tf.zeros(shape, dtype))


def hide(numbers: Size, tensor: tf.Tensor) -> tf.Tensor:
    """Returns numbers that XLA does not know to be constant.

    Args:
        numbers: Integers [...].
        tensor: float32, any numbers.

    Returns:
        int32 [...], the numbers.
    """
    some = tf.reshape(tensor, [-1])[0]
    # True of any value, not-a-number included; XLA does not find that out.
    is_anything = (some >= some) | (some != some)
    return tf.where(is_anything, tf.cast(numbers, tf.int32), 0)


def sizes(tensor: tf.Tensor) -> tuple[Size, ...]:
    """Returns the size of each axis: a number where known, else a tensor.

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


def list_true(flags: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Lists the places of true values in order.

    Args:
        flags: bool [N].

    Returns:
        int32 [N], the places; N in the rest. int32, their number.
    """
    count = tf.cast(flags, tf.int32)
    size = tf.size(flags)
    rank = tf.cumsum(count) - 1
    # Negative ranks are left out; a segment without a value has the largest.
    places = tf.math.unsorted_segment_min(
        tf.range(size), tf.where(flags, rank, -1), size
    )
    return tf.minimum(places, size), tf.reduce_sum(count)


def reduce_middle(
    values: tf.Tensor, choose: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Reduces the middle axis of [A, 2**n, B] to [A, B].

    By halves, because XLA does not vectorize its own reductions.

    Args:
        values: The numbers.
        choose: Such as tf.minimum.
    """
    size = values.shape[1]
    while size > 1:
        size //= 2
        values = choose(values[:, :size], values[:, size : 2 * size])
    return values[:, 0]


def ceil_divide(size: Size, by: Size) -> Size:
    """Returns size / by, rounded up."""
    return -(-size // by)


def are_known_equal(some: Sequence[Size], others: Sequence[Size]) -> bool:
    """Whether sizes are known and equal."""
    return all(
        isinstance(a, int) and isinstance(b, int) and a == b
        for a, b in zip(some, others, strict=True)
    )
