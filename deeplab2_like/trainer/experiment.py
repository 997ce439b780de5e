# SPDX-License-Identifier: Apache-2.0
"""Builds the objects of a run, trains and evaluates."""

import contextlib
import io
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import orbit
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.checkpoints import initialization
from deeplab2_like.config import Config
from deeplab2_like.console import progress
from deeplab2_like.data import build as data_build
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.meta_architectures import build as system_build
from deeplab2_like.trainer import (
    build,
    checkpoint_manager,
    distribution,
    evaluation,
    prediction_saver,
    run_options,
    stopping,
    training,
)


class Experiment:
    """The objects of a run, built from its config.

    Attributes:
        results: Results of the last evaluation; see `runs.evaluate`.
    """

    def __init__(
        self,
        config: Config,
        model_dir: str,
        strategy: tf.distribute.Strategy,
        report: progress.Progress,
    ):
        """Builds system and model; reads no data and no checkpoint.

        Args:
            config: The checked config.
            model_dir: The model folder.
            strategy: The distribution strategy.
            report: Display of the progress.
        """
        options = config.options
        self._options = options
        self._trainer_options = options.trainer_options
        self._solver = options.trainer_options.solver_options
        self._model_dir = model_dir
        self._strategy = strategy
        self._report = report
        self.results: dict[str, Any] = {}
        seed = self._trainer_options.seed
        keras.utils.set_random_seed(seed)
        if self._trainer_options.deterministic:
            tf.config.experimental.enable_op_determinism()
        self._system = system_build.build_system(
            options, descriptor_lib.load_of_run(options)
        )
        with (
            strategy.scope(),
            system_build.compute_precision(self._trainer_options),
        ):
            self._model = self._system.build_model(
                synchronize_batch_norm=self._solver.use_sync_batchnorm
            )
        report.log(
            f"{config.path}: {options.experiment_name}, "
            f"{self._model.count_params() / 1e6:.2f} M parameters, "
            f"{strategy.num_replicas_in_sync} replica(s) of "
            f"{type(strategy).__name__}"
        )

    def train(
        self,
        *,
        evaluate: bool = False,
        on_step: run_options.OnStep | None = None,
    ) -> None:
        """Trains to the last step, from the newest checkpoint if any.

        Args:
            evaluate: See `runs.train`.
            on_step: See `runs.train`.
        """
        with self._strategy.scope():
            trainer, state = self._build_trainer()
            start = self._restore(trainer, state)
        total = self._solver.training_number_of_steps
        if start >= total:
            self._report.log(f"Already trained to step {start}.")
        trainer.train_dataset = self._training_dataset(start)
        manager = checkpoint_manager.make_manager(
            self._output_directory(),
            state,
            trainer.global_step,
            keep=self._trainer_options.num_checkpoints_to_keep,
            interval_steps=self._trainer_options.save_checkpoints_steps,
        )
        with self._strategy.scope():
            evaluator = (
                self._build_evaluator(trainer.average) if evaluate else None
            )
        self._report.log("Tracing the training step ...")
        with (
            self._report.phase("Training", total) as phase,
            stopping.watch_sigterm() as is_stopping,
        ):

            def after_loop(output: Mapping[str, tf.Tensor]) -> None:
                step = int(trainer.global_step.numpy())
                phase.advance(step, _short_values(output))
                if on_step is not None:
                    on_step(step, {k: float(v) for k, v in output.items()})
                if is_stopping():
                    manager.save(checkpoint_number=step, check_interval=False)
                    raise stopping.StopRequestedError()

            with _quiet_orbit():
                controller = orbit.Controller(
                    global_step=trainer.global_step,
                    trainer=trainer,
                    evaluator=evaluator,
                    strategy=self._strategy,
                    train_actions=[after_loop],
                    steps_per_loop=self._trainer_options.steps_per_loop,
                    checkpoint_manager=manager,
                    summary_dir=f"{self._output_directory()}/train",
                    eval_summary_dir=f"{self._output_directory()}/eval",
                    summary_interval=self._trainer_options.save_summaries_steps,
                )
                try:
                    self._run_controller(controller, total, evaluate)
                except stopping.StopRequestedError:
                    step = int(trainer.global_step.numpy())
                    self._report.log(
                        f"Stopped as asked after step {step}, which is saved. "
                        "The same command continues."
                    )
                    raise SystemExit(stopping.EXIT_CODE) from None
        if evaluator is not None:
            self._show_results(evaluator)

    def _run_controller(
        self, controller: orbit.Controller, total: int, evaluate: bool
    ) -> None:
        if not evaluate:
            controller.train(total)
            return
        evaluator_options = self._options.evaluator_options
        step = int(controller.global_step.numpy())
        while True:
            step = min(step + evaluator_options.eval_interval, total)
            # A checkpoint is saved first, so that no training can be lost.
            controller.train(step)
            controller.evaluate(evaluator_options.eval_steps)
            if step >= total:
                return

    def evaluate(self) -> None:
        """Evaluates the newest checkpoint of the model folder."""
        prefix = checkpoint_files.find_checkpoint(self._model_dir)
        self._evaluate_checkpoint(prefix)

    def evaluate_continuously(self) -> None:
        """Evaluates each new checkpoint until the last step or a timeout."""
        timeout = self._options.evaluator_options.continuous_eval_timeout
        seconds = None if timeout < 0 else timeout
        total = self._solver.training_number_of_steps
        for prefix in tf.train.checkpoints_iterator(
            self._model_dir, timeout=seconds
        ):
            try:
                step = self._evaluate_checkpoint(prefix)
            except errors.CheckpointError as error:
                # The trainer deleted it while it was read.
                if tf.io.gfile.exists(f"{prefix}.index"):
                    raise
                self._report.log(f"Passed over: {error}")
                continue
            if step >= total:
                return

    def _evaluate_checkpoint(self, prefix: str) -> int:
        """Evaluates one checkpoint and returns its step."""
        values = checkpoint_files.read_checkpoint(prefix)
        initialization.assign_all(
            prefix, checkpoint_files.model_values(values), self._model
        )
        step = tf.Variable(int(values.get("global_step", 0)), dtype=tf.int64)
        self._report.log(f"Evaluating {prefix} (step {int(step)})")
        with self._strategy.scope():
            evaluator = self._build_evaluator(None)
        with _quiet_orbit():
            controller = orbit.Controller(
                global_step=step,
                evaluator=evaluator,
                strategy=self._strategy,
                eval_summary_dir=f"{self._output_directory()}/eval",
            )
            controller.evaluate(self._options.evaluator_options.eval_steps)
        self._show_results(evaluator)
        return int(step)

    def _build_trainer(
        self,
    ) -> tuple[training.Trainer, dict[str, dict[str, tf.Variable]]]:
        learning_rate = build.build_learning_rate(self._solver)
        groups = build.build_parameter_groups(
            self._solver, learning_rate, self._system, self._model
        )
        trainer = training.Trainer(
            self._system,
            self._model,
            tf.data.Dataset.range(0),  # Replaced when the first step is known.
            groups,
            learning_rate,
            weight_decay=self._solver.weight_decay,
            clip_gradient_norm=(
                self._solver.clip_gradient_norm
                if self._solver.use_gradient_clipping
                else None
            ),
            average_decay=self._solver.ema_decay,
        )
        return trainer, trainer.state()

    def _restore(
        self,
        trainer: training.Trainer,
        state: Mapping[str, Mapping[str, tf.Variable]],
    ) -> int:
        prefix = checkpoint_manager.restore_latest(
            self._model_dir, state, trainer.global_step
        )
        if prefix is not None:
            self._report.log(f"Continuing from {prefix}")
            return int(trainer.global_step.numpy())
        if self._options.model_options.initial_checkpoint:
            restored = initialization.initialize(
                self._options.model_options, self._system, self._model
            )
            self._report.console.print(restored.table())
            if trainer.average is not None:
                trainer.average.reset()
        return 0

    def _training_dataset(self, start_step: int):
        options = self._options.train_dataset_options
        distribution.check_batch_size(
            "train_dataset_options.batch_size",
            options.batch_size,
            self._strategy,
        )
        make_targets = self._system.target_maker(is_training=True)

        def make(context: tf.distribute.InputContext | None = None):
            return data_build.build_training_dataset(
                options,
                self._system.descriptor,
                make_targets,
                seed=self._trainer_options.seed,
                deterministic=self._trainer_options.deterministic,
                start_step=start_step,
                input_context=context,
            )

        if isinstance(self._strategy, tf.distribute.OneDeviceStrategy):
            return make()
        return self._strategy.distribute_datasets_from_function(make)

    def _build_evaluator(self, average) -> evaluation.Evaluator:
        options = self._options.evaluator_options
        data = self._options.eval_dataset_options
        has_labels = data.decode_groundtruth_label

        def make_dataset() -> tf.data.Dataset:
            make_targets = self._system.target_maker(is_training=False)
            return data_build.build_evaluation_dataset(
                data,
                self._system.descriptor,
                make_targets if has_labels else None,
            )

        def make_saver() -> prediction_saver.PredictionSaver:
            return build.build_saver(
                options,
                self._system.descriptor,
                self._prediction_directory(),
                has_labels=has_labels,
            )

        return evaluation.Evaluator(
            self._system,
            self._model,
            make_dataset,
            directory=f"{self._output_directory()}/eval",
            scoring=evaluation.ScoreOptions(
                has_labels=has_labels,
                pq_variant=build.pq_variant(options),
                detailed_ap=options.detailed_ap_metrics,
            ),
            make_saver=make_saver,
            average=average,
            report=self._report,
        )

    def _output_directory(self) -> str:
        if distribution.is_chief(self._strategy):
            return self._model_dir
        # Every worker saves and evaluates, but only the chief may write to
        # the model folder itself.
        task = self._strategy.cluster_resolver.task_id
        return f"{self._model_dir}/worker_{task}"

    def _prediction_directory(self) -> str:
        override = self._options.evaluator_options.override_save_dir
        if override and distribution.is_chief(self._strategy):
            return override
        return f"{self._output_directory()}/vis"

    def _show_results(self, evaluator: evaluation.Evaluator) -> None:
        self.results = evaluator.results
        if "table" in self.results:
            self._report.log(self.results["table"])
        for name, value in self.results["summaries"].items():
            if name.startswith("evaluation/"):
                self._report.log(f"{name} {value:.4f}")
        for warning in self.results["warnings"]:
            self._report.log(str(warning))


def _short_values(output: Mapping[str, tf.Tensor]) -> dict[str, float]:
    """Returns the numbers for the line of the progress."""
    return {
        name.removeprefix("losses/train_").removesuffix("_loss"): float(value)
        for name, value in output.items()
        if name.startswith("losses/") or name == "learning_rate"
    }


@contextlib.contextmanager
def _quiet_orbit() -> Iterator[None]:
    """Hides Orbit's own lines on standard output."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
