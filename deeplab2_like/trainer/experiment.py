# SPDX-License-Identifier: Apache-2.0
"""Builds the objects of a run, and trains."""

import functools
from collections.abc import Callable, Mapping

import keras
import tensorflow as tf

from deeplab2_like.checkpoints import initialization
from deeplab2_like.config import Config
from deeplab2_like.config.rules import consistency as consistency_rules
from deeplab2_like.console import progress
from deeplab2_like.data import build as data_build
from deeplab2_like.data import damage, pipeline
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.meta_architectures import build as system_build
from deeplab2_like.protos import trainer_pb2
from deeplab2_like.trainer import (
    build,
    checkpoint_manager,
    checkpoint_size,
    consistency_build,
    consistency_training,
    data_service,
    distribution,
    event_files,
    linear_scaling,
    loop_watch,
    profile_steps,
    profiling,
    run_evaluation,
    run_options,
    step_options,
    supervision,
    training,
    training_loop,
    workers,
)
from deeplab2_like.trainer.ledger import events


class Experiment:
    """The objects of a run, built from its config.

    Attributes:
        evaluation: The evaluations of the run.
    """

    def __init__(
        self,
        config: Config,
        model_dir: str,
        strategy: tf.distribute.Strategy,
        report: progress.Progress,
        *,
        options: run_options.RunOptions | None = None,
    ):
        """Builds system and model; reads no data and no checkpoint.

        Args:
            config: The checked config.
            model_dir: The model folder.
            strategy: The distribution strategy.
            report: Display of the progress.
            options: Options of the run; the defaults when None.
        """
        self._run_options = options or run_options.RunOptions()
        steps = self._run_options.profile_steps
        self._profile = profile_steps.parse(steps) if steps else None
        self._options = config.options
        self._trainer_options = self._options.trainer_options
        self._solver, self._scaling = linear_scaling.scale(
            self._options.trainer_options.solver_options,
            self._options.train_dataset_options.batch_size,
        )
        self._model_dir = model_dir
        self._strategy = strategy
        self._report = report
        self._damage = damage.DamageReport(report.log)
        seed = self._trainer_options.seed
        keras.utils.set_random_seed(seed)
        if self._trainer_options.deterministic:
            tf.config.experimental.enable_op_determinism()
        self._system = system_build.build_system(
            self._options, descriptor_lib.load_of_run(self._options)
        )
        with (
            strategy.scope(),
            system_build.compute_precision(self._trainer_options),
        ):
            self._model = self._system.build_model(
                synchronize_batch_norm=self._solver.use_sync_batchnorm
            )
        self.evaluation = run_evaluation.RunEvaluation(
            self._options,
            self._system,
            self._model,
            strategy,
            model_dir=model_dir,
            report=report,
        )
        report.log(
            f"{config.path}: {self._options.experiment_name}, "
            f"{self._model.count_params() / 1e6:.2f} M parameters, "
            f"{strategy.num_replicas_in_sync} replica(s) of "
            f"{type(strategy).__name__}"
        )

    def train(
        self,
        *,
        supervised: supervision.Supervision,
        evaluate: bool = False,
        on_step: run_options.OnStep | None = None,
    ) -> None:
        """Trains to the last step, from the newest checkpoint if any.

        Args:
            supervised: What ends the training early.
            evaluate: See `runs.train`.
            on_step: See `runs.train`.
        """
        ledger = events.Ledger(self._output_directory(), log=self._report.log)
        began = self._run_options.began
        with ledger.attempt(
            ledger.clock() if began is None else began,
            **distribution.describe(self._strategy),
            batch_size=self._options.train_dataset_options.batch_size,
        ):
            self._train(ledger, supervised, evaluate=evaluate, on_step=on_step)

    def _train(
        self,
        ledger: events.Ledger,
        supervised: supervision.Supervision,
        *,
        evaluate: bool,
        on_step: run_options.OnStep | None,
    ) -> None:
        """Trains; see `train`."""
        with supervised.starting():
            if self._scaling:
                self._report.log(self._scaling)
            with self._strategy.scope():
                trainer, state = self._build_trainer()
                with ledger.measure("restore") as restored:
                    start = restored["step"] = self._restore(trainer, state)
            self._check_workers(start)
            trainer.train_dataset = self._training_dataset(start)
            directory = self._output_directory()
            self._remove_summaries(directory, start)
        options = self._trainer_options
        keep = options.num_checkpoints_to_keep
        keeps_optimizer = options.keep_optimizer == trainer_pb2.ALL
        self._report.log(
            checkpoint_size.describe(
                state, keep=keep, keeps_optimizer=keeps_optimizer
            )
        )
        manager = checkpoint_manager.make_manager(
            directory,
            state,
            trainer.global_step,
            checkpoint_manager.SaveOptions(
                keep=keep,
                interval_steps=options.save_checkpoints_steps,
                keeps_optimizer=keeps_optimizer,
                is_async=options.async_checkpoints,
            ),
        )
        profile = None
        if self._profile is not None:
            profile = profiling.Profile(
                self._profile, f"{directory}/train", self._report.log
            )
        watch = loop_watch.make_watch(
            ledger, trainer, self._strategy, profile, self._report.log
        )
        evaluations = None
        if evaluate:
            evaluations = self._build_evaluations(trainer, directory)
        loop = training_loop.TrainingLoop(
            self._options,
            trainer,
            manager,
            self._strategy,
            evaluations=evaluations,
            directory=directory,
            supervised=supervised,
            watch=watch,
        )
        try:
            loop.run(on_step)
        finally:
            if profile is not None:
                profile.stop()
            if self._damage.summary():
                self._report.log(self._damage.summary())
        if evaluations is not None:
            self.evaluation.show_results(evaluations.evaluator)

    def _build_evaluations(
        self, trainer: training.Trainer, directory: str
    ) -> training_loop.Evaluations:
        """Builds what evaluates during the training."""
        if distribution.is_chief(self._strategy):
            self.evaluation.best.prepare()
        with self._strategy.scope():
            evaluator = self.evaluation.build_evaluator(
                trainer.average,
                lambda: (
                    f"{directory}/ckpt-{trainer.global_step.numpy()}",
                    int(trainer.global_step.numpy()),
                ),
                keeps_best=True,
            )
        return training_loop.Evaluations(
            evaluator, self.evaluation.describe_stop
        )

    def _check_workers(self, start: int) -> None:
        """Checks that all workers will run the same loops of steps."""
        fields = (
            "steps_per_loop",
            "save_checkpoints_steps",
            "save_summaries_steps",
            "early_stopping_evaluations",
        )
        workers.check_same(
            self._strategy,
            {
                "the step that they start from": start,
                "training_number_of_steps": (
                    self._solver.training_number_of_steps
                ),
                **self._list_profile_ends(),
                **{
                    name: getattr(self._trainer_options, name)
                    for name in fields
                },
            },
        )

    def _remove_summaries(self, directory: str, start: int) -> None:
        """Removes the summaries of steps that are done again."""
        for part in ("train", "eval"):
            event_files.remove_steps(
                f"{directory}/{part}",
                lambda step: step > start,
                is_shared=part == "eval",
            )

    def _list_profile_ends(self) -> dict[str, int]:
        """Lists the steps of the trace, by names for messages."""
        steps = self._profile or profile_steps.ProfileSteps(0, 0)
        return {
            "the start of --profile_steps": steps.start,
            "the end of --profile_steps": steps.end,
        }

    def _build_trainer(
        self,
    ) -> tuple[training.Trainer, dict[str, dict[str, tf.Variable]]]:
        learning_rate = build.build_learning_rate(self._solver)
        groups = build.build_parameter_groups(
            self._solver, learning_rate, self._system, self._model
        )
        make_trainer: Callable[..., training.Trainer] = training.Trainer
        if consistency_rules.uses_consistency(self._options):
            make_trainer = functools.partial(
                consistency_training.ConsistencyTrainer,
                consistency_options=consistency_build.build_consistency(
                    self._options, self._system.descriptor
                ),
            )
        trainer = make_trainer(
            self._system,
            self._model,
            tf.data.Dataset.range(0),  # Replaced when the first step is known.
            groups,
            learning_rate,
            self._build_step_options(),
        )
        return trainer, trainer.state()

    def _build_step_options(self) -> step_options.StepOptions:
        solver = self._solver
        is_compiled = self._trainer_options.compile_step
        if is_compiled:
            distribution.check_compilable(self._strategy)
        return step_options.StepOptions(
            weight_decay=solver.weight_decay,
            clip_gradient_norm=(
                solver.clip_gradient_norm
                if solver.use_gradient_clipping
                else None
            ),
            average_decay=solver.ema_decay,
            parts=self._choose_parts(),
            is_compiled=is_compiled,
        )

    def _choose_parts(self) -> int:
        """Returns in how many parts a replica computes its share of a batch."""
        batch_size = self._options.train_dataset_options.batch_size
        replicas = self._strategy.num_replicas_in_sync
        share = max(1, batch_size // replicas)
        parts = step_options.choose_parts(
            share, self._solver.max_replica_batch_size
        )
        if parts > 1:
            noun = "image" if share == parts else "images"
            self._report.log(
                f"Batches of {batch_size}: {replicas} replica(s) compute "
                f"{share // parts} {noun} at once, {parts} times a step."
            )
        return parts

    def _restore(
        self,
        trainer: training.Trainer,
        state: Mapping[str, Mapping[str, tf.Variable]],
    ) -> int:
        prefix = checkpoint_manager.restore_latest(
            self._model_dir,
            state,
            trainer.global_step,
            warn=lambda text: self._report.log(f"warning: {text}"),
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
        add_unlabeled = None
        if consistency_rules.uses_consistency(self._options):
            consistency_build.check_batch(self._options, self._strategy)
            add_unlabeled = consistency_build.add_unlabeled(
                self._options, start_step
            )
        service = options.data_service_address
        if service:
            data_service.check_reachable(service)

        def make(
            context: tf.distribute.InputContext | None = None,
        ) -> tf.data.Dataset:
            if service:
                context = data_service.share_input(context)
            labeled = data_build.build_training_dataset(
                options,
                self._system.descriptor,
                make_targets,
                pipeline.Reading(
                    seed=self._trainer_options.seed,
                    deterministic=self._trainer_options.deterministic,
                    start_step=start_step,
                    damage=self._damage,
                    is_served=bool(service),
                ),
                input_context=context,
            )
            if add_unlabeled is not None:
                labeled = add_unlabeled(labeled, context)
            if not service:
                return labeled
            job = data_service.name_job(
                self._model_dir,
                start_step,
                self._options,
                self._strategy.num_replicas_in_sync,
            )
            return data_service.distribute(labeled, service, job)

        if isinstance(self._strategy, tf.distribute.OneDeviceStrategy):
            return make()
        return self._strategy.distribute_datasets_from_function(make)

    def _output_directory(self) -> str:
        return distribution.choose_folder(self._strategy, self._model_dir)
