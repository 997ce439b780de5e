# SPDX-License-Identifier: Apache-2.0
"""What ends a training before its last step: signals, and parts that hang."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import tensorflow as tf

from deeplab2_like.console import progress
from deeplab2_like.protos import trainer_pb2
from deeplab2_like.trainer import stopping, watchdog, workers

# Number of batches after which workers agree whether an evaluation ends.
_AGREE_BATCHES = 8


@dataclasses.dataclass(frozen=True)
class Supervision:
    """The watches of a training.

    Attributes:
        watch: Watches for signals.
        watchdog: Watches for parts that hang.
        report: Display of the progress.
        strategy: The distribution strategy.
        is_alone: Whether no other process would wait for this one.
    """

    watch: stopping.Watch
    watchdog: watchdog.Watchdog
    report: progress.Progress
    strategy: tf.distribute.Strategy
    is_alone: bool

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Lets a signal end a block in which nothing is done yet.

        With other workers, which would wait, it has an effect at the first
        loop of steps.

        Raises:
            SystemExit: A signal was received.
        """
        if not self.is_alone:
            self.watch.plan("Stopping as soon as all workers have started")
            yield
            return
        self.watch.plan("Stopping before the first step")
        with self.interruptible("before a step was done; nothing is lost"):
            yield

    @contextlib.contextmanager
    def interruptible(self, when: str) -> Iterator[None]:
        """Lets a signal end a block, which loses nothing.

        Args:
            when: When it stopped, as the end of a sentence.

        Raises:
            SystemExit: A signal was received.
        """
        with self.ending(when), self.watch.interruptible():
            yield

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Watches an evaluation inside a block, and lets a signal end it.

        The evaluator has to call `after_batch`.

        Raises:
            StopRequestedError: A signal was received.
        """
        self.watch.plan("Stopping the evaluation")
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.watchdog.evaluating())
            if self.is_alone:
                # The others would wait for this one; see `after_batch`.
                stack.enter_context(self.watch.interruptible())
            yield

    def after_batch(self, done: int) -> None:
        """Goes on with an evaluation, or ends it on all workers.

        Args:
            done: Number of batches that are evaluated.

        Raises:
            StopRequestedError: This or another worker received a signal.
        """
        self.watchdog.evaluated()
        if self.is_alone or done % _AGREE_BATCHES:
            return
        is_asked = self.watch.received is not None
        if workers.agree_to_stop(self.strategy, is_asked):
            raise stopping.StopRequestedError()

    @contextlib.contextmanager
    def ending(self, when: str) -> Iterator[None]:
        """Ends the process where a block raises StopRequestedError.

        Args:
            when: See `interruptible`.

        Raises:
            SystemExit: A signal was received.
        """
        try:
            yield
        except stopping.StopRequestedError:
            asked = self.watch.received != stopping.INTERRUPT
            self.report.log(
                f"Stopped{' as asked' * asked} {when}. The same command "
                "continues."
            )
            raise SystemExit(
                stopping.EXIT_CODE if asked else stopping.INTERRUPT_CODE
            ) from None


@contextlib.contextmanager
def supervise(
    options: trainer_pb2.WatchdogOptions,
    model_dir: str,
    strategy: tf.distribute.Strategy,
    *,
    report: progress.Progress,
    unlock: Callable[[], None],
) -> Iterator[Supervision]:
    """Watches a training inside a block.

    Args:
        options: The limits.
        model_dir: The model folder.
        strategy: The distribution strategy.
        report: Display of the progress.
        unlock: Function that releases the model folder, for a process that
            ends at once.
    """

    def leave() -> None:
        """Leaves terminal and folder as they were; called from a thread."""
        unlock()
        report.console.show_cursor(True)

    limits = watchdog.Limits(
        compile=options.compile_seconds,
        step=options.step_seconds,
        save=options.save_seconds,
        evaluation=options.evaluation_seconds,
    )
    with (
        stopping.Watch(report.log, before_exit=leave) as watch,
        watchdog.Watchdog(
            limits, model_dir, report.log, before_exit=leave
        ) as dog,
    ):
        yield Supervision(
            watch,
            dog,
            report,
            strategy,
            is_alone=workers.count_processes(strategy) == 1,
        )
