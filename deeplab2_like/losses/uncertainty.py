# SPDX-License-Identifier: Apache-2.0
"""Weights of several losses that are learned along with them.

Kendall, Gal and Cipolla, CVPR 2018 (arXiv:1705.07115): each loss has an
uncertainty s, learned as eta = log s ** 2. A large s makes the loss count
little, and costs something itself.
"""

from collections.abc import Collection, Mapping, Sequence

import tensorflow as tf

# Eta is kept within +-10: weights between 5e-5 and 22,000.
LARGEST_LOG_VARIANCE = 10.0


def weigh_losses(
    losses: Mapping[str, tf.Tensor],
    names: Sequence[str],
    log_variances: tf.Tensor,
    regressions: Collection[str],
) -> dict[str, tf.Tensor]:
    """Weighs losses by their uncertainties.

    A regression becomes exp(-eta) * loss / 2 + eta / 2, so that at the best
    eta the variance is the loss; a classification exp(-eta) * loss + eta / 2.
    The authors' own notebook has exp(-eta) * loss + eta for regressions,
    which has the same minimum. The result may be negative.

    Args:
        losses: float32 [B] each.
        names: Of the losses with an uncertainty; those that do not occur are
            passed over, and others are not changed.
        log_variances: float32 [len(names)], eta of each.
        regressions: Names of the losses that are regressions.

    Returns:
        float32 [B] each, under the same names.
    """
    limit = LARGEST_LOG_VARIANCE
    etas = tf.clip_by_value(tf.cast(log_variances, tf.float32), -limit, limit)
    weighed = dict(losses)
    for index, name in enumerate(names):
        if name not in losses:
            continue
        eta = etas[index]
        factor = 0.5 if name in regressions else 1.0
        weighed[name] = factor * tf.exp(-eta) * losses[name] + 0.5 * eta
    return weighed
