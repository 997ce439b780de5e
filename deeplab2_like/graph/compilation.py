# SPDX-License-Identifier: Apache-2.0
"""Helpers that make code fast under XLA; they work without XLA too.

XLA merges cheap operations into each of their uses, and so computes them many
times; `compute_once` prevents that.
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
        number: int32 scalar, not a constant; see `hide`.
        compute: Function that returns the tensor.
        shape: Shape of the tensor.
        dtype: Type of the tensor.
    """

    def compute_after_sort() -> tf.Tensor:
        # XLA computes both branches if they are cheap; a sort never is.
        smaller = tf.sort(tf.stack([number, 1]))[0]
        return compute() + tf.cast(tf.minimum(smaller, 0), dtype)

    return tf.cond(
        number > 0, compute_after_sort, lambda: tf.zeros(shape, dtype)
    )


def hide(numbers: Size, tensor: tf.Tensor) -> tf.Tensor:
    """Returns numbers that XLA does not recognize as constants.

    Args:
        numbers: Integers [...].
        tensor: float32 of any shape and values; not empty, not a constant.

    Returns:
        int32 [...], the same numbers.
    """
    some = tf.reshape(tensor, [-1])[0]
    # True for every value, NaN included; XLA does not recognize that.
    is_anything = (some >= some) | (some != some)
    return tf.where(is_anything, tf.cast(numbers, tf.int32), 0)


def sizes(tensor: tf.Tensor) -> tuple[Size, ...]:
    """Returns the size of each axis: an int where static, else a tensor.

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
    """Lists the indices of true values in ascending order.

    Args:
        flags: bool [N].

    Returns:
        int32 [N], the indices, padded with N; and int32 scalar, their number.
    """
    count = tf.cast(flags, tf.int32)
    size = tf.size(flags)
    rank = tf.cumsum(count) - 1
    # Negative ranks are dropped; segments without a value get the largest.
    places = tf.math.unsorted_segment_min(
        tf.range(size), tf.where(flags, rank, -1), size
    )
    return tf.minimum(places, size), tf.reduce_sum(count)


def reduce_middle(
    values: tf.Tensor, choose: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Reduces the middle axis by halves.

    XLA does not vectorize its own reductions.

    Args:
        values: [A, 2**n, B], any numeric dtype.
        choose: Function that reduces two tensors to one, such as `tf.minimum`.

    Returns:
        [A, B], the same dtype.
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
    """Returns whether all sizes are static and pairwise equal."""
    return all(
        isinstance(a, int) and isinstance(b, int) and a == b
        for a, b in zip(some, others, strict=True)
    )
