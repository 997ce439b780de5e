# SPDX-License-Identifier: Apache-2.0
"""The loop around the steps: checkpoints, summaries, evaluations, stops."""

import contextlib
import dataclasses
import io
from collections.abc import Callable, Iterator, Mapping, Sequence

import orbit
import tensorflow as tf

from deeplab2_like.config import decimals
from deeplab2_like.console import progress
from deeplab2_like.protos import config_pb2
from deeplab2_like.trainer import (
    checkpoint_manager,
    loop_watch,
    run_options,
    stopping,
    supervision,
    training,
    training_summaries,
    workers,
)
from deeplab2_like.trainer import evaluator as evaluator_lib

# Seconds below which there was nothing to save.
_SHORTEST_SAVE = 0.001


class LoopLengths:
    """The number of steps of each loop, as Orbit asks for it.

    Loops end at multiples of each of the given numbers.
    """

    def __init__(
        self,
        multiples: Sequence[int],
        total: int,
        supervised: supervision.Supervision,
        strategy: tf.distribute.Strategy,
        *,
        ends: Sequence[int] = (),
    ):
        """Stores the numbers.

        Args:
            multiples: Numbers of steps, at least 1.
            total: The last step.
            supervised: Its signals end the training.
            strategy: The distribution strategy; its workers stop together.
            ends: Steps at which loops end, too.
        """
        self._ends = ends
        self._multiples = multiples
        self._total = total
        self._watch = supervised.watch
        self._watchdog = supervised.watchdog
        self._strategy = strategy

    def __call__(self, step: int) -> int:
        """Returns the number of steps after `step`.

        Raises:
            StopRequestedError: A signal was received, by this process or by
                another worker.
        """
        is_asked = self._watch.received is not None
        with self._watchdog.waiting():
            is_over = workers.agree_to_stop(self._strategy, is_asked)
        if is_over:
            raise stopping.StopRequestedError()
        step = int(step)
        steps = min(number - step % number for number in self._multiples)
        later = [end - step for end in self._ends if end > step]
        steps = max(1, min(steps, self._total - step, *later))
        noun = "step" if steps == 1 else "steps"
        self._watch.plan(
            f"Stopping after this loop of {steps} {noun}, at step "
            f"{step + steps}"
        )
        return steps


@dataclasses.dataclass(frozen=True)
class Evaluations:
    """The evaluations during a training.

    Attributes:
        evaluator: Evaluates every `evaluator_options.eval_interval` steps and
            at the end.
        describe_stop: Function that returns why the training ends early at a
            step, after its evaluation; "" if it goes on.
    """

    evaluator: evaluator_lib.BaseEvaluator
    describe_stop: Callable[[int], str]


class TrainingLoop:
    """Trains from the present step to the last one of a config."""

    def __init__(
        self,
        options: config_pb2.ExperimentOptions,
        trainer: training.Trainer,
        manager: checkpoint_manager.CheckpointManager,
        strategy: tf.distribute.Strategy,
        *,
        evaluations: Evaluations | None,
        directory: str,
        supervised: supervision.Supervision,
        watch: loop_watch.LoopWatch,
    ):
        """Stores the parts of the run.

        Args:
            options: The config.
            trainer: The trainer, restored, with its data.
            manager: Writer of the checkpoints.
            strategy: The distribution strategy.
            evaluations: The evaluations; None for none.
            directory: Folder of the summaries.
            supervised: What ends the training early, and where it says so.
            watch: Accompanies the loops of steps.
        """
        self._options = options
        self._trainer = trainer
        self._evaluations = evaluations
        self._manager = manager
        self._strategy = strategy
        self._directory = directory
        self._report = supervised.report
        self._supervised = supervised
        self._watch = supervised.watch
        self._loop_watch = watch
        self._total = (
            options.trainer_options.solver_options.training_number_of_steps
        )

    def run(self, on_step: run_options.OnStep | None = None) -> None:
        """Trains, and evaluates if there is an evaluator.

        Args:
            on_step: See `runs.train`.

        Raises:
            SystemExit: The process received SIGINT or SIGTERM.
        """
        start = self._current_step()
        self._report.log("Tracing the training step ...")
        self._watch.add_exit(
            lambda: self._report.log(f"\n{self._describe_loss()}")
        )
        self._supervise()
        with (
            self._report.phase(
                "Training", self._total, start=start, unit="steps"
            ) as phase,
            quiet_orbit(),
        ):
            controller = self._make_controller(
                self._make_action(phase, on_step)
            )
            try:
                self._run_controller(controller)
                workers.wait_for_all(self._strategy)
            except stopping.StopRequestedError:
                self._manager.save_now()
                # None ends before all have saved.
                workers.wait_for_all(self._strategy)
                self._stop()
            except KeyboardInterrupt:
                self._report.log(self._describe_loss())
                raise SystemExit(stopping.INTERRUPT_CODE) from None

    def _supervise(self) -> None:
        """Has the watches told of what goes on."""
        self._trainer.around_loop = self._around_loop
        self._trainer.clock = self._loop_watch.clock
        self._manager.around = self._saving
        if isinstance(self._strategy, tf.distribute.OneDeviceStrategy):
            # Others trace in threads, which an exception would leave behind.
            self._trainer.tracing = self._watch.interruptible
        if self._evaluations is not None:
            self._evaluations.evaluator.after_batch = (
                self._supervised.after_batch
            )

    @contextlib.contextmanager
    def _around_loop(self, num_steps: int) -> Iterator[None]:
        """Watches a loop of steps."""
        with (
            self._supervised.watchdog.steps(num_steps),
            self._loop_watch.loop(),
        ):
            yield

    @contextlib.contextmanager
    def _saving(self) -> Iterator[None]:
        """Watches that a checkpoint is saved, or waited for."""
        step = self._current_step()
        with (
            self._supervised.watchdog.saving(),
            self._loop_watch.ledger.measure(
                "save", step, at_least=_SHORTEST_SAVE
            ),
        ):
            yield

    def _make_action(
        self, phase: progress.Phase, on_step: run_options.OnStep | None
    ) -> orbit.Action:
        start = self._current_step()
        batch_size = self._options.train_dataset_options.batch_size

        def after_loop(output: Mapping[str, tf.Tensor]) -> None:
            step = self._current_step()
            images = (step - start) * batch_size
            phase.advance(step, _short_values(output), images=images)
            if on_step is not None:
                values = {k: float(v) for k, v in output.items()}
                if "learning_rate" in values:
                    rate = decimals.read_decimal(values["learning_rate"])
                    values["learning_rate"] = rate
                on_step(step, values)

        return after_loop

    def _make_controller(self, action: orbit.Action) -> orbit.Controller:
        trainer_options = self._options.trainer_options
        interval = trainer_options.save_summaries_steps
        multiples = [
            trainer_options.steps_per_loop,
            trainer_options.save_checkpoints_steps,
            interval,
        ]
        evaluator = None
        if self._evaluations is not None:
            evaluator = self._evaluations.evaluator
            multiples.append(self._options.evaluator_options.eval_interval)
        lengths = LoopLengths(
            multiples,
            self._total,
            self._supervised,
            self._strategy,
            ends=self._loop_watch.ends,
        )
        return orbit.Controller(
            global_step=self._trainer.global_step,
            trainer=self._trainer,
            evaluator=evaluator,
            strategy=self._strategy,
            train_actions=[action],
            steps_per_loop=lengths,
            checkpoint_manager=self._manager,
            summary_interval=interval,
            summary_manager=training_summaries.TrainingSummaries(
                f"{self._directory}/train",
                self._trainer.global_step,
                interval,
                self._total,
            ),
            eval_summary_dir=f"{self._directory}/eval",
        )

    def _run_controller(self, controller: orbit.Controller) -> None:
        if self._evaluations is None:
            controller.train(self._total)
            return
        evaluator_options = self._options.evaluator_options
        interval = evaluator_options.eval_interval
        step = self._current_step()
        while step < self._total:
            step = min(step + interval - step % interval, self._total)
            # A checkpoint is saved first, so that no training can be lost.
            controller.train(step)
            with (
                self._supervised.evaluating(),
                self._loop_watch.ledger.measure("evaluation", step),
            ):
                controller.evaluate(evaluator_options.eval_steps)
            if step < self._total and self._stops_early(step):
                return

    def _stops_early(self, step: int) -> bool:
        """Returns whether training ends here, the same for all workers."""
        if not self._options.trainer_options.early_stopping_evaluations:
            return False
        assert self._evaluations is not None
        reason = self._evaluations.describe_stop(step)
        if not workers.agree_to_stop(self._strategy, bool(reason)):
            return False
        self._report.log(
            reason
            or f"Stopped early at step {step}, by the evaluations of the first "
            "worker."
        )
        return True

    def _current_step(self) -> int:
        return int(self._trainer.global_step.numpy())

    def _stop(self) -> None:
        step = self._current_step()
        received = self._watch.received
        if received != stopping.INTERRUPT:
            asked = " with the other workers" * (received is None)
            self._report.log(
                f"Stopped as asked{asked} after step {step}, which is saved. "
                "The same command continues."
            )
            raise SystemExit(stopping.EXIT_CODE) from None
        self._report.log(
            f"Stopped at step {step}, which is saved. The same command "
            "continues."
        )
        raise SystemExit(stopping.INTERRUPT_CODE) from None

    def _describe_loss(self) -> str:
        saved = self._manager.saved_step
        if saved is None:
            return "Stopped at once. Nothing was saved yet."
        return (
            f"Stopped at once. The same command continues from step {saved}, "
            "the last one that was saved."
        )


def _short_values(output: Mapping[str, tf.Tensor]) -> dict[str, float]:
    """Returns the numbers for the line of the progress, the total first."""
    values = {
        name.removeprefix("losses/train_").removesuffix("_loss"): float(value)
        for name, value in output.items()
        if name.startswith("losses/") or name == "learning_rate"
    }
    return {
        name: values[name]
        for name in sorted(values, key=lambda name: name != "total")
    }


@contextlib.contextmanager
def quiet_orbit() -> Iterator[None]:
    """Hides Orbit's own lines on standard output."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
