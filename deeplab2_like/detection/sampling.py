# SPDX-License-Identifier: Apache-2.0
"""Random samples of boxes for training, of a fixed size.

B images, N boxes, K chosen ones. Results depend on the arguments only, not on
eager mode, graph or XLA; `tf.random.stateless_uniform` draws other numbers
under XLA than outside of it.
"""

from typing import NamedTuple

import tensorflow as tf

from deeplab2_like.detection import matching

# Wellons, "Prospecting for Hash Functions" (2018): shifts and multipliers with
# which each bit of a number changes half of the bits of the result.
_MIXING = ((16, 0x7FEB352D), (15, 0x846CA68B))
_LAST_SHIFT = 16
# Bits of a float32 in 1..2 above those of its fraction.
_ONE = 0x3F800000
_FRACTION_SHIFT = 9


class Sample(NamedTuple):
    """The chosen boxes: positive ones, then negative ones, then empty places.

    Attributes:
        index: int32 [B, K] in 0..N-1; any number in empty places.
        is_positive: bool [B, K].
        is_chosen: bool [B, K], the place holds a box.
    """

    index: tf.Tensor
    is_positive: tf.Tensor
    is_chosen: tf.Tensor


def sample_balanced(
    label_bn: tf.Tensor,
    seed: tf.Tensor,
    *,
    num_samples: int,
    positive_share: float,
) -> Sample:
    """Chooses boxes at random, with a limited share of positive ones.

    Faster R-CNN (arXiv:1506.01497), section 3.1.3: where positive boxes are
    missing, negative ones take their places, but not the reverse.

    Args:
        label_bn: int32 [B, N], labels of `matching.Matches`; only boxes that
            are POSITIVE or NEGATIVE are chosen. N is static or at least K.
        seed: int32 [2].
        num_samples: K.
        positive_share: Largest share of positive boxes, in 0..1.
    """
    known = label_bn.shape[1]
    missing = 0 if known is None else num_samples - known
    label_bn = tf.pad(
        label_bn,
        [[0, 0], [0, max(missing, 0)]],
        constant_values=matching.NEITHER,
    )
    priority = draw_priorities(tf.shape(label_bn), seed)
    num_positive = int(num_samples * positive_share)
    positive = _choose(
        priority, label_bn == matching.POSITIVE, max(num_positive, 1)
    )
    negative = _choose(priority, label_bn == matching.NEGATIVE, num_samples)
    count = tf.minimum(
        tf.reduce_sum(tf.cast(positive[1], tf.int32), 1), num_positive
    )
    count = count[:, tf.newaxis]
    place = tf.range(num_samples)[tf.newaxis]
    is_positive = place < count
    from_positive = tf.minimum(place, positive[0].shape[1] - 1)
    from_negative = tf.maximum(place - count, 0)
    index = tf.where(
        is_positive,
        tf.gather(positive[0], from_positive[0], axis=1),
        tf.gather(negative[0], from_negative, batch_dims=1),
    )
    is_chosen = is_positive | tf.gather(
        negative[1], from_negative, batch_dims=1
    )
    return Sample(index, is_positive, is_chosen)


def draw_priorities(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws uniform numbers that are the same in every mode.

    Args:
        shape: int32 [rank], shape of the result; at most 2**31 - 1 numbers.
        seed: int32 [2].

    Returns:
        float32, in [1, 2) in steps of 2**-23, so that all are above 0.
    """
    key = tf.bitcast(seed, tf.uint32)
    bits = tf.cast(tf.range(tf.reduce_prod(shape)), tf.uint32)
    for part in (key[0], key[1]):
        bits = _mix(tf.bitwise.bitwise_xor(bits, _mix(part)))
    bits = _shift_right(bits, _FRACTION_SHIFT)
    fraction = tf.bitwise.bitwise_or(bits, tf.constant(_ONE, tf.uint32))
    return tf.reshape(tf.bitcast(fraction, tf.float32), shape)


def _mix(bits: tf.Tensor) -> tf.Tensor:
    """Mixes the bits of uint32 numbers; different ones stay different."""
    for shift, factor in _MIXING:
        bits = tf.bitwise.bitwise_xor(bits, _shift_right(bits, shift))
        bits *= tf.constant(factor, tf.uint32)
    return tf.bitwise.bitwise_xor(bits, _shift_right(bits, _LAST_SHIFT))


def _shift_right(bits: tf.Tensor, number: int) -> tf.Tensor:
    return tf.bitwise.right_shift(bits, tf.constant(number, tf.uint32))


def _choose(
    priority: tf.Tensor, is_allowed: tf.Tensor, number: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the places of the highest priorities, and which are allowed."""
    best = tf.math.top_k(tf.where(is_allowed, priority, 0.0), number)
    return best.indices, best.values > 0.0
