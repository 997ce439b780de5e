# SPDX-License-Identifier: Apache-2.0
"""What ends a training before its last step: signals, and parts that hang."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import tensorflow as tf

from deeplab2_like.console import progress
from deeplab2_like.protos import trainer_pb2
from deeplab2_like.trainer import stopping, watchdog, workers


@dataclasses.dataclass(frozen=True)
class Supervision:
    """The watches of a training.

    Attributes:
        watch: Watches for signals.
        watchdog: Watches for parts that hang.
        report: Display of the progress.
        is_alone: Whether no other process would wait for this one.
    """

    watch: stopping.Watch
    watchdog: watchdog.Watchdog
    report: progress.Progress
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
        try:
            with self.watch.interruptible():
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
            watch, dog, report, workers.count_processes(strategy) == 1
        )
