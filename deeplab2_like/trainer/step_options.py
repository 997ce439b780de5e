# SPDX-License-Identifier: Apache-2.0
"""How a training step is computed."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class StepOptions:
    """How a step is computed.

    Attributes:
        weight_decay: Weight decay; adds `weight_decay / 2 * sum(w ** 2)` over
            the decayed weights to the loss.
        clip_gradient_norm: Largest norm of all gradients together; None for
            no clipping.
        average_decay: Decay of averaged weights, see
            `optimizers.AveragedWeights`; 0 for none.
        parts: Number of equal parts in which a replica computes its share of a
            batch, one after the other; divides the share.
        is_compiled: Whether XLA compiles the step of a replica as one.
    """

    weight_decay: float = 0.0
    clip_gradient_norm: float | None = None
    average_decay: float = 0.0
    parts: int = 1
    is_compiled: bool = False


def choose_parts(share: int, most: int) -> int:
    """Returns in how many equal parts a replica computes its images.

    Args:
        share: Number of images of a replica in a batch.
        most: Largest number that it computes at once; 0 for no limit.
    """
    if not most:
        return 1
    return next(
        n for n in range(1, share + 1) if share % n == 0 and share // n <= most
    )
