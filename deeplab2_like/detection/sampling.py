# SPDX-License-Identifier: Apache-2.0
"""Random choice of boxes to learn from, in fixed numbers.

B images, N boxes, K chosen ones.
"""

from typing import NamedTuple

import tensorflow as tf

from deeplab2_like.detection import matching


class Sample(NamedTuple):
    """The chosen boxes: positive ones first, then negative ones, then none.

    Attributes:
        index: int32 [B, K] in 0..N-1; any number where nothing is chosen.
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
    """Chooses boxes at random, with at most some share of positive ones.

    Faster R-CNN (arXiv:1506.01497), section 3.1.3: where positive boxes are
    missing, negative ones take their places, but not the reverse. The choice
    follows from the arguments alone.

    Args:
        label_bn: int32 [B, N], of `matching`; others than POSITIVE and
            NEGATIVE are never chosen. N is static or at least `num_samples`.
        seed: int32 [2].
        num_samples: K.
        positive_share: In 0..1.
    """
    known = label_bn.shape[1]
    missing = 0 if known is None else num_samples - known
    label_bn = tf.pad(
        label_bn,
        [[0, 0], [0, max(missing, 0)]],
        constant_values=matching.NEITHER,
    )
    # In 1..2, so that zero is below all of them.
    priority = 1.0 + tf.random.stateless_uniform(
        tf.shape(label_bn), seed, alg="philox"
    )
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


def _choose(
    priority: tf.Tensor, is_allowed: tf.Tensor, number: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Gives the places of the highest priorities, and whether they count."""
    best = tf.math.top_k(tf.where(is_allowed, priority, 0.0), number)
    return best.indices, best.values > 0.0
