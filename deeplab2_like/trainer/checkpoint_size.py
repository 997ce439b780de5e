# SPDX-License-Identifier: Apache-2.0
"""Says how large the checkpoints of a run are."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf


def describe(
    state: Mapping[str, Mapping[str, tf.Variable]],
    *,
    keep: int,
    keeps_optimizer: bool,
) -> str:
    """Returns a sentence about the size of a checkpoint and its parts.

    Args:
        state: Named groups of named variables.
        keep: Number of checkpoints that are kept.
        keeps_optimizer: See `checkpoint_manager.SaveOptions`.
    """
    sizes = {"weights": 0, "optimizer": 0, "averages": 0}
    for name, group in state.items():
        part = "averages" if name == "average" else "weights"
        part = "optimizer" if name.startswith("optimizer") else part
        sizes[part] += sum(
            int(np.prod(v.shape)) * v.dtype.size for v in group.values()
        )
    total = sum(sizes.values())
    unit, factor = ("MB", 1e-6) if total >= 1e5 else ("kB", 1e-3)
    if total >= 1e9:
        unit, factor = "GB", 1e-9
    parts = ", ".join(
        f"{name} {factor * size:.1f}" for name, size in sizes.items() if size
    )
    text = f"Checkpoints of {factor * total:.3g} {unit}: {parts}."
    if keep > 1 and keeps_optimizer:
        return (
            f"{text} {keep} are kept; trainer_options {{ keep_optimizer: LAST "
            "} keeps the optimizer in the newest one only."
        )
    if keep > 1:
        return f"{text} Of {keep}, only the newest one keeps the optimizer."
    return text
