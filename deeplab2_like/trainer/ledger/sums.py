# SPDX-License-Identifier: Apache-2.0
"""Sums up what a run spent its time on, over all its starts.

Every second between the begin of the first program and the last event belongs
to exactly one cause, so that the sums are the wall time.
"""

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

from deeplab2_like.trainer.ledger.reading import Attempt, WorkerLedger

PRODUCTIVE = "productive"
START = "start"
RESTORE = "restore"
FIRST_STEP = "first_step"
INPUT_WAIT = "input_wait"
SAVE = "save"
EVALUATION = "evaluation"
TWICE = "done_twice"
DOWN = "not_running"
OTHER = "unaccounted"

# The causes of lost time, in the order in which they are shown.
LOST = (
    START,
    RESTORE,
    FIRST_STEP,
    INPUT_WAIT,
    SAVE,
    EVALUATION,
    TWICE,
    DOWN,
    OTHER,
)

# A worker is named if it makes the others wait for at least this share of a
# step.
_STRAGGLER_SHARE = 0.05


@dataclasses.dataclass(frozen=True)
class Straggler:
    """A worker that the others wait for.

    Attributes:
        worker: Name of its ledger.
        host: Name of its machine.
        seconds: Seconds that a step of it waits for its batch.
        median: The same of the middle one of all workers.
    """

    worker: str
    host: str
    seconds: float
    median: float


@dataclasses.dataclass(frozen=True)
class Sums:
    """Where the time of a run went.

    Attributes:
        wall_seconds: From the begin of the first program to the last event.
        productive_seconds: Steps that were kept, without waits for batches.
        lost_seconds: Seconds of each cause in `LOST`.
        steps: Number of steps that were kept.
        steps_per_second: Steps that were kept, in the time of the loops of
            steps; 0 if unknown.
        attempts: Number of starts.
        killed: Number of them that have no stop event: killed, or running.
        last_step: The step reached.
        batch_size: Images of a step of the last start; 0 if unknown.
        replicas: Replicas of the last start.
        has_input_wait: Whether waits for batches were measured in all loops.
        straggler: The worker that the others wait for; None for none.
        unreadable: Number of lines that are no event.
    """

    wall_seconds: float
    productive_seconds: float
    lost_seconds: dict[str, float]
    steps: float
    steps_per_second: float
    attempts: int
    killed: int
    last_step: int
    batch_size: int
    replicas: int
    has_input_wait: bool
    straggler: Straggler | None
    unreadable: int

    @property
    def productive_share(self) -> float:
        """Productive seconds of all; 0..1."""
        if not self.wall_seconds:
            return 0.0
        return self.productive_seconds / self.wall_seconds


def sum_up(ledgers: Sequence[WorkerLedger]) -> Sums:
    """Sums up the ledgers of a run.

    Args:
        ledgers: Those of `reading.read_run`. The times are those of the first
            one; steps run on all workers at once.
    """
    chief = ledgers[0]
    attempts = chief.attempts
    seconds = dict.fromkeys((PRODUCTIVE, *LOST), 0.0)
    typical = _find_typical_step(attempts)
    kept, kept_seconds = 0.0, 0.0
    wall_end = attempts[0].began
    for place, attempt in enumerate(attempts):
        later = [a.first_step for a in attempts[place + 1 :]]
        restored = min((s for s in later if s is not None), default=None)
        # A program may begin before the one before has written its last line.
        began = max(attempt.began, wall_end)
        seconds[DOWN] += began - wall_end
        wall_end = max(attempt.end, began)
        parts = _sum_attempt(attempt, restored, typical)
        kept += parts.pop("steps")
        kept_seconds += parts.pop("loop_seconds")
        for cause, value in parts.items():
            seconds[cause] += value
        seconds[OTHER] += (wall_end - began) - sum(parts.values())
    productive = seconds.pop(PRODUCTIVE)
    last = attempts[-1].start
    loops = [e for a in attempts for e in a.events if e["event"] == "loop"]
    return Sums(
        wall_seconds=wall_end - attempts[0].began,
        productive_seconds=productive,
        lost_seconds=seconds,
        steps=kept,
        steps_per_second=kept / kept_seconds if kept_seconds else 0.0,
        attempts=len(attempts),
        killed=sum(not attempt.reason for attempt in attempts),
        last_step=_find_last_step(attempts),
        batch_size=int(last.get("batch_size") or 0),
        replicas=int(last.get("replicas") or 1),
        has_input_wait=all(e.get("input_wait") is not None for e in loops),
        straggler=_find_straggler(ledgers, typical),
        unreadable=sum(ledger.unreadable for ledger in ledgers),
    )


def _sum_attempt(
    attempt: Attempt, restored: int | None, typical: float
) -> dict[str, float]:
    """Returns seconds by cause, and the steps of loops and their seconds.

    Args:
        attempt: One start of the program.
        restored: The earliest step that a later start continued from; None
            if there was none.
        typical: Seconds of a usual step.
    """
    found = dict.fromkeys(
        (PRODUCTIVE, START, RESTORE, FIRST_STEP, INPUT_WAIT, SAVE), 0.0
    )
    found |= {EVALUATION: 0.0, TWICE: 0.0, "steps": 0.0, "loop_seconds": 0.0}
    begin_of_steps = attempt.end
    for event in attempt.events:
        kind = event["event"]
        lasted = float(event.get("seconds") or 0.0)
        if kind in ("restore", "save", "evaluation"):
            found[kind] += lasted
        if kind not in ("first_step", "loop"):
            continue
        begin_of_steps = min(begin_of_steps, event["time"] - lasted)
        steps = int(event.get("steps") or 1)
        wait = min(float(event.get("input_wait") or 0.0), lasted)
        if kind == "first_step":
            extra = max(0.0, lasted - wait - steps * typical)
            found[FIRST_STEP] += extra
            lasted -= extra
        lost = 0.0
        if restored is not None:
            beyond = int(event.get("step") or 0) - restored
            lost = min(max(beyond, 0), steps) / steps
        found[TWICE] += lost * lasted
        found[INPUT_WAIT] += (1 - lost) * wait
        found[PRODUCTIVE] += (1 - lost) * (lasted - wait)
        found["steps"] += (1 - lost) * steps
        found["loop_seconds"] += (1 - lost) * lasted
    before = begin_of_steps - attempt.began
    found[START] = max(0.0, before - _sum_before(attempt, begin_of_steps))
    return found


def _sum_before(attempt: Attempt, begin_of_steps: float) -> float:
    """Returns the seconds of events other than steps before the first one."""
    return sum(
        float(event.get("seconds") or 0.0)
        for event in attempt.events
        if event["time"] <= begin_of_steps
    )


def _list_loops(attempts: Sequence[Attempt]) -> list[dict[str, Any]]:
    return [
        event
        for attempt in attempts
        for event in attempt.events
        if event["event"] == "loop" and event.get("steps")
    ]


def _find_typical_step(attempts: Sequence[Attempt]) -> float:
    """Returns the median of the seconds a step, without waits; 0 if none."""
    values = [
        (float(e.get("seconds") or 0) - float(e.get("input_wait") or 0))
        / e["steps"]
        for e in _list_loops(attempts)
    ]
    return max(0.0, statistics.median(values)) if values else 0.0


def _find_last_step(attempts: Sequence[Attempt]) -> int:
    """Returns the step of the newest start that got to one; 0 if none did."""
    for attempt in reversed(attempts):
        steps = [
            int(event["step"])
            for event in attempt.events
            if event.get("step") is not None
        ]
        if steps:
            return max(steps)
    return 0


def _find_straggler(
    ledgers: Sequence[WorkerLedger], typical: float
) -> Straggler | None:
    """Returns the worker that waits longest for batches, if it stands out.

    Workers do their steps together, so that all of them wait for it.
    """
    waits = {}
    for ledger in ledgers:
        loops = _list_loops(ledger.attempts[-1:])
        steps = sum(event["steps"] for event in loops)
        if not steps or any(e.get("input_wait") is None for e in loops):
            continue
        waits[ledger.name] = sum(e["input_wait"] for e in loops) / steps
    if len(waits) < 2:
        return None
    name = max(waits, key=lambda key: waits[key])
    median = statistics.median_low(waits.values())
    if waits[name] - median < _STRAGGLER_SHARE * max(typical, 1e-9):
        return None
    (ledger,) = (ledger for ledger in ledgers if ledger.name == name)
    host = str(ledger.attempts[-1].start.get("host", "unknown"))
    return Straggler(name, host, waits[name], median)
