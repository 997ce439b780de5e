# SPDX-License-Identifier: Apache-2.0
"""Shows the sums of a ledger: as a table of text, and for JSON."""

import dataclasses
from typing import Any

from deeplab2_like.console import speed
from deeplab2_like.trainer.ledger import sums as sums_lib

_NAMES = {
    sums_lib.START: "start of the program, model and data",
    sums_lib.RESTORE: "restoring checkpoints",
    sums_lib.FIRST_STEP: "tracing and compiling the first step",
    sums_lib.INPUT_WAIT: "waiting for batches",
    sums_lib.SAVE: "saving checkpoints",
    sums_lib.EVALUATION: "evaluation",
    sums_lib.TWICE: "work done twice after a stop",
    sums_lib.DOWN: "not running, between two starts",
    sums_lib.OTHER: "not accounted for",
}


def compute_utilisation(
    sums: sums_lib.Sums, multiply_adds: int, peak_tflops: float
) -> float:
    """Computes the model flops utilisation of the steps that were kept.

    A step takes 6 operations for each multiply-add of inference of its crops:
    two each for the forward pass, and for the gradients of features and of
    weights (Chowdhery et al., arXiv:2204.02311, appendix B). What is computed
    again for memory does not count.

    Args:
        sums: Sums of the run.
        multiply_adds: Multiply-adds of inference of one crop.
        peak_tflops: Largest number of operations a second of one device, in
            10^12.

    Returns:
        The share of the devices' peak, 0..1, in the time of the loops.
    """
    operations = 6.0 * multiply_adds * sums.batch_size * sums.steps_per_second
    return operations / (1e12 * peak_tflops * max(1, sums.replicas))


def to_values(
    sums: sums_lib.Sums, utilisation: float | None = None
) -> dict[str, Any]:
    """Returns everything for JSON.

    Args:
        sums: Sums of the run.
        utilisation: Model flops utilisation; None if it was not asked for.
    """
    values = dataclasses.asdict(sums)
    values["productive_share"] = sums.productive_share
    values["model_flops_utilisation"] = utilisation
    return values


def to_text(sums: sums_lib.Sums, utilisation: float | None = None) -> str:
    """Returns a table and what is to be said about it.

    Args:
        sums: Sums of the run.
        utilisation: See `to_values`.
    """
    rows = [("productive steps", sums.productive_seconds)]
    rows += [
        (_NAMES[cause], sums.lost_seconds[cause]) for cause in sums_lib.LOST
    ]
    width = max(len(name) for name, _ in rows)
    lines = [
        f"{name:{width}}  {_format(seconds, sums.wall_seconds)}"
        for name, seconds in rows
    ]
    total = sums.productive_seconds + sum(sums.lost_seconds.values())
    lines.append(f"{'wall time':{width}}  {_format(total, sums.wall_seconds)}")
    lines += ["", *_describe(sums, utilisation)]
    return "\n".join(lines)


def _format(seconds: float, wall: float) -> str:
    share = 100 * seconds / wall if wall else 0.0
    duration = speed.format_duration(seconds)
    return f"{seconds:12.1f} s  {duration:>10}  {share:5.1f} %"


def _describe(sums: sums_lib.Sums, utilisation: float | None) -> list[str]:
    starts = "1 start" if sums.attempts == 1 else f"{sums.attempts} starts"
    killed = (
        f", {sums.killed} without a stop event (killed, or running)"
        if sums.killed
        else ""
    )
    lines = [f"Step {sums.last_step} in {starts}{killed}."]
    if sums.steps_per_second:
        images = sums.steps_per_second * sums.batch_size
        lines.append(
            f"{sums.steps_per_second:.4g} steps/s, {images:.4g} images/s in "
            "the loops of steps."
        )
    if not sums.has_input_wait:
        lines.append(
            "Waits for batches were not measured in all loops, and are in the "
            "productive steps."
        )
    if utilisation is not None:
        lines.append(
            f"Model flops utilisation: {100 * utilisation:.1f} % of "
            f"{sums.replicas} device(s)."
        )
    if sums.straggler is not None:
        slow = sums.straggler
        lines.append(
            f"Straggler: {slow.worker} on {slow.host} waits {slow.seconds:.3g} "
            f"s a step for its batch, the middle worker {slow.median:.3g} s; "
            "all workers wait with it."
        )
    if sums.unreadable:
        lines.append(
            f"{sums.unreadable} line(s) are no event, as a process leaves them "
            "that is killed while it writes."
        )
    return lines
