# SPDX-License-Identifier: Apache-2.0
"""Accompanies the loops of steps: times for the ledger, traces, warnings."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

import tensorflow as tf
from tensorflow.types.experimental import PolymorphicFunction

from deeplab2_like.trainer import input_clock, profiling, retracing
from deeplab2_like.trainer.ledger import events


class _Trainer(Protocol):
    """What is watched."""

    global_step: tf.Variable
    loop_function: PolymorphicFunction | None


class LoopWatch:
    """What happens before and after each loop of steps.

    Attributes:
        clock: Measures the waits for batches; None for no measurement.
        ledger: Ledger of the run.
        ends: Steps at which loops have to end, for the trace.
    """

    def __init__(
        self,
        ledger: events.Ledger,
        step: tf.Variable,
        *,
        clock: input_clock.InputClock | None = None,
        profile: profiling.Profile | None = None,
        retraces: retracing.RetraceWarning | None = None,
    ):
        """Stores the parts.

        Args:
            ledger: Ledger of the run.
            step: The step counter.
            clock: Measures the waits for batches; None for no measurement.
            profile: Trace of some of the steps; None for none.
            retraces: Warns of steps that are traced again; None for nothing.
        """
        self.ledger = ledger
        self.clock = clock
        self.ends: tuple[int, ...] = () if profile is None else profile.ends
        self._step = step
        self._profile = profile
        self._retraces = retraces
        self._has_loops = False

    @contextlib.contextmanager
    def loop(self) -> Iterator[None]:
        """Accompanies one loop; one that fails is not noted."""
        start = int(self._step.numpy())
        if self._profile is not None:
            self._profile.before_loop(start)
        if self.clock is not None:
            self.clock.reset()
        begin = self.ledger.clock()
        yield
        end = self.ledger.clock()
        step = int(self._step.numpy())
        self._note(begin, end, start, step)
        if self._retraces is not None:
            self._retraces.check(step, end - begin)
        if self._profile is not None:
            self._profile.after_loop(step)

    def _note(self, begin: float, end: float, start: int, step: int) -> None:
        times = None if self.clock is None else self.clock.read()
        steps = step - start
        wait = None if times is None else times.wait
        if self._has_loops:
            self.ledger.add_loop(step, steps, end - begin, wait)
            return
        self._has_loops = True
        if times is None or not times.second_begin:
            self.ledger.add(
                "first_step",
                seconds=end - begin,
                step=step,
                steps=steps,
                input_wait=wait,
            )
            return
        first = min(max(times.second_begin, begin), end)
        self.ledger.add(
            "first_step",
            time=first,
            seconds=first - begin,
            step=start + 1,
            steps=1,
            input_wait=times.first_wait,
        )
        self.ledger.add_loop(
            step, steps - 1, end - first, times.wait - times.first_wait
        )


def make_watch(
    ledger: events.Ledger,
    trainer: _Trainer,
    strategy: tf.distribute.Strategy,
    profile: profiling.Profile | None,
    log: Callable[[str], None],
) -> LoopWatch:
    """Makes the watch of a training, outside the scope of its strategy.

    Args:
        ledger: Ledger of the run.
        trainer: The trainer.
        strategy: The distribution strategy.
        profile: Trace of some of the steps; None for none.
        log: Function that prints a line.
    """
    # The loop runs on the host of a TPU, which cannot reach a variable of this
    # process.
    measures = input_clock.is_available() and not isinstance(
        strategy, tf.distribute.TPUStrategy
    )
    return LoopWatch(
        ledger,
        trainer.global_step,
        clock=input_clock.InputClock() if measures else None,
        profile=profile,
        retraces=retracing.RetraceWarning(lambda: trainer.loop_function, log),
    )
