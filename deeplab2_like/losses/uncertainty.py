# SPDX-License-Identifier: Apache-2.0
"""Learned weights of several losses.

Kendall, Gal and Cipolla, CVPR 2018 (arXiv:1705.07115): each loss has an
uncertainty s, learned as eta = log s ** 2. A large s reduces the weight of its
loss, and adds a penalty.
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
    eta the variance equals the loss; a classification becomes
    exp(-eta) * loss + eta / 2. The notebook of the authors has
    exp(-eta) * loss + eta for regressions, which has the same minimum.
    Results may be negative.

    Args:
        losses: float32 [B] each.
        names: Names of the losses with an uncertainty. Those that are not in
            `losses` are skipped; other losses are not changed.
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
