# SPDX-License-Identifier: Apache-2.0
"""Learning rates for other batch sizes than those that they were chosen for."""

import math

from deeplab2_like.config import decimals
from deeplab2_like.protos import trainer_pb2


def scale(
    solver: trainer_pb2.SolverOptions, batch_size: int
) -> tuple[trainer_pb2.SolverOptions, str]:
    """Scales rate and warm-up to a batch size by the linear rule.

    A batch of k times the size has k times the learning rate, and a warm-up
    over the same number of images (Goyal et al., arXiv:1706.02677, sections
    2.1 and 2.2). The number of steps stays as it is.

    Args:
        solver: Options with the batch size that rates and warm-up are for;
            without one, or with that of the run, nothing changes.
        batch_size: Images of a step over all replicas.

    Returns:
        A copy with the rates and the warm-up of the run, and a sentence for
        the user; "" if nothing changed.
    """
    scaled = trainer_pb2.SolverOptions()
    scaled.CopyFrom(solver)
    reference = solver.reference_batch_size
    if reference in (0, batch_size):
        return scaled, ""
    factor = batch_size / reference
    rate = decimals.read_decimal(solver.base_learning_rate)
    scaled.base_learning_rate = rate * factor
    scaled.poly_end_learning_rate *= factor
    total = solver.training_number_of_steps
    scaled.warmup_steps = min(
        math.ceil(solver.warmup_steps / factor), total - 1
    )
    warmup = (
        f", warm-up {solver.warmup_steps} -> {scaled.warmup_steps} steps"
        if solver.warmup_steps
        else ""
    )
    same = max(1, round(total / factor))
    return scaled, (
        f"Scaled from batches of {reference} to {batch_size}: learning rate "
        f"{rate:g} -> {rate * factor:g}{warmup}. training_number_of_steps "
        f"stays {total}; {same} steps are as many images as {total} of "
        f"batches of {reference}."
    )
