# SPDX-License-Identifier: Apache-2.0
"""The evaluations of a run: of its checkpoints, and in its training."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import orbit
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.checkpoints import initialization
from deeplab2_like.console import progress, version
from deeplab2_like.data import build as data_build
from deeplab2_like.data.large import lists
from deeplab2_like.meta_architectures import contract
from deeplab2_like.protos import config_pb2, trainer_pb2
from deeplab2_like.storage import json_files, large_list_names
from deeplab2_like.trainer import (
    best_checkpoint,
    build,
    distribution,
    evaluated_sizes,
    evaluation,
    event_files,
    large_evaluation,
    optimizers,
    prediction_saver,
    report_writer,
    stored_outputs,
    training_loop,
    tuning,
    tuning_files,
)
from deeplab2_like.trainer import evaluator as evaluator_lib

RESULTS_FILE = "metrics.json"


class RunEvaluation:
    """Evaluates the model of a run and writes what it finds.

    Attributes:
        best: The best checkpoint of the run.
        results: Results of the last evaluation; see `runs.evaluate`.
    """

    def __init__(
        self,
        options: config_pb2.ExperimentOptions,
        system: contract.MetaArchitecture,
        model: keras.Model,
        strategy: tf.distribute.Strategy,
        *,
        model_dir: str,
        report: progress.Progress,
    ):
        """Stores the objects of the run.

        Args:
            options: The config.
            system: System of the model.
            model: The model that `system` built.
            strategy: The distribution strategy.
            model_dir: The model folder.
            report: Display of the progress.
        """
        self._options = options
        self._system = system
        self._model = model
        self._strategy = strategy
        self._model_dir = model_dir
        self._directory = distribution.choose_folder(strategy, model_dir)
        self._report = report
        keeps_optimizer = (
            options.trainer_options.keep_optimizer == trainer_pb2.ALL
        )
        self.best = best_checkpoint.BestCheckpoint(
            model_dir, keeps_optimizer=keeps_optimizer, log=report.log
        )
        self._page: report_writer.ReportOptions | None = None
        self.results: dict[str, Any] = {}

    def add_report(self, compare_with: str) -> None:
        """Lets the evaluations from now on write a report.

        Args:
            compare_with: Folder of another run to compare with; "" for none.
        """
        self._page = report_writer.ReportOptions(
            model_dir=self._directory,
            pq_variant=build.pq_variant(self._options.evaluator_options),
            compare_with=compare_with,
        )

    def evaluate_newest(self) -> None:
        """Evaluates the newest checkpoint of the model folder."""
        prefix = checkpoint_files.find_checkpoint(self._model_dir)
        self.evaluate_checkpoint(prefix)

    def evaluate_continuously(self) -> None:
        """Evaluates each new checkpoint until the last step or a timeout.

        The best one is kept.
        """
        timeout = self._options.evaluator_options.continuous_eval_timeout
        seconds = None if timeout < 0 else timeout
        solver = self._options.trainer_options.solver_options
        for prefix in tf.train.checkpoints_iterator(
            self._model_dir, timeout=seconds
        ):
            try:
                step = self.evaluate_checkpoint(prefix, keeps_best=True)
            except errors.CheckpointError as error:
                # The trainer deleted it while it was read.
                if tf.io.gfile.exists(f"{prefix}.index"):
                    raise
                self._report.log(f"Passed over: {error}")
                continue
            if step >= solver.training_number_of_steps:
                return

    def evaluate_checkpoint(
        self,
        prefix: str,
        *,
        keeps_best: bool = False,
        after_batch: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Evaluates one checkpoint and returns its step.

        Args:
            prefix: Prefix of the checkpoint.
            keeps_best: See `build_evaluator`.
            after_batch: See `evaluation.Evaluator`.

        Raises:
            CheckpointError: It is damaged or of another model.
        """
        step = tf.Variable(self.restore(prefix), dtype=tf.int64)
        self._report.log(f"Evaluating {prefix} (step {int(step)})")
        with self._strategy.scope():
            evaluator = self.build_evaluator(
                None,
                lambda: (prefix, int(step.numpy())),
                keeps_best=keeps_best,
            )
        evaluator.after_batch = after_batch
        directory = f"{self._directory}/eval"
        if distribution.is_chief(self._strategy):
            event_files.remove_steps(
                directory, lambda n: n == int(step.numpy()), is_shared=True
            )
        with training_loop.quiet_orbit():
            controller = orbit.Controller(
                global_step=step,
                evaluator=evaluator,
                strategy=self._strategy,
                eval_summary_dir=directory,
            )
            controller.evaluate(self._options.evaluator_options.eval_steps)
        self.show_results(evaluator)
        return int(step)

    def tune_newest(self) -> None:
        """Chooses the settings of post-processing on the evaluation images.

        With the newest checkpoint. `results` is then that of `runs.tune`.

        Raises:
            UserError: See `tuning.Tuner`.
        """
        prefix = checkpoint_files.find_checkpoint(self._model_dir)
        tuner = tuning.Tuner(
            self._options,
            self._system,
            self._model,
            self._strategy,
            report=self._report,
        )
        step = self.restore(prefix)
        self._report.log(f"Tuning {prefix} (step {step})")
        with stored_outputs.temporary_folder(
            f"{self._model_dir}/eval"
        ) as folder:
            tuned = tuner.run(self.make_dataset(), folder)
        path = tuning_files.write(
            tuned, self._options, prefix, step, model_dir=self._model_dir
        )
        self.results = tuning_files.list_results(tuned) | {"config": path}
        self._report.log(tuning_files.describe(tuned))
        for line in tuning_files.describe_check(tuned):
            self._report.log(line)
        self._report.log(tuning_files.describe_use(path))

    def restore(self, prefix: str) -> int:
        """Gives the model the weights of a checkpoint, averaged if possible.

        Args:
            prefix: Prefix of the checkpoint.

        Returns:
            The step of the checkpoint.

        Raises:
            CheckpointError: It is damaged or of another model.
        """
        values = checkpoint_files.read_checkpoint(prefix)
        initialization.assign_all(
            prefix, checkpoint_files.model_values(values), self._model
        )
        return int(values.get("global_step", 0))

    def make_dataset(self) -> tf.data.Dataset:
        """Makes the evaluation batches, from the beginning."""
        data = self._options.eval_dataset_options
        make_targets = None
        if data.decode_groundtruth_label:
            make_targets = self._system.target_maker(is_training=False)
        return data_build.build_evaluation_dataset(
            data, self._system.descriptor, make_targets
        )

    def build_evaluator(
        self,
        average: optimizers.AveragedWeights | None,
        find_checkpoint: Callable[[], tuple[str, int]],
        *,
        keeps_best: bool,
    ) -> evaluator_lib.BaseEvaluator:
        """Builds the evaluator; call it in the strategy's scope.

        Args:
            average: Weights to evaluate in place of the model's own.
            find_checkpoint: Function that returns the prefix and the step of
                the checkpoint that is evaluated.
            keeps_best: Whether that checkpoint is kept if it is the best one
                of the run so far.
        """
        options = self._options.evaluator_options
        data = self._options.eval_dataset_options
        has_labels = data.decode_groundtruth_label

        def make_saver() -> prediction_saver.PredictionSaver:
            return build.build_saver(
                options,
                self._system.descriptor,
                self._prediction_directory(),
                has_labels=has_labels,
            )

        def write_results(results: Mapping[str, Any]) -> None:
            prefix, step = find_checkpoint()
            self._write_results(results, prefix, step)
            if keeps_best and distribution.is_chief(self._strategy):
                self.best.offer(results, prefix, step)

        if large_list_names.names_lists(data.file_pattern):
            return large_evaluation.LargeEvaluator(
                self._system,
                self._model,
                data_build.build_preprocessing(data),
                large_evaluation.LargeImages(
                    lists.load(data.file_pattern),
                    f"{self._directory}/eval",
                    rules=f"{self._options.model_options} {data} {options}",
                ),
                write_results=write_results,
                average=average,
                pq_variant=build.pq_variant(options),
                report=self._report,
            )
        return evaluation.Evaluator(
            self._system,
            self._model,
            self.make_dataset,
            write_results=write_results,
            scoring=evaluation.ScoreOptions(
                has_labels=has_labels,
                pq_variant=build.pq_variant(options),
                detailed_ap=options.detailed_ap_metrics,
                size_rules=evaluated_sizes.SizeRules.from_options(
                    self._options
                ),
                report=self._page,
            ),
            make_saver=make_saver,
            average=average,
            report=self._report,
        )

    def describe_stop(self, step: int) -> str:
        """Returns why this process ends the training early; "" if it does not.

        Args:
            step: The present step.
        """
        if not distribution.is_chief(self._strategy):
            return ""  # The chief decides.
        return self.best.describe_stop(
            self._options.trainer_options.early_stopping_evaluations, step
        )

    def show_results(self, evaluator: evaluator_lib.BaseEvaluator) -> None:
        """Prints the results of an evaluator, and keeps them."""
        self.results = evaluator.results
        if "table" in self.results:
            self._report.log(self.results["table"])
        for name, value in self.results["summaries"].items():
            if name.startswith("evaluation/"):
                self._report.log(f"{name} {value:.4f}")
        for warning in self.results["warnings"]:
            self._report.log(str(warning))

    def _write_results(
        self, results: Mapping[str, Any], prefix: str, step: int
    ) -> None:
        data = self._options.eval_dataset_options
        facts = {
            "experiment": self._options.experiment_name,
            "checkpoint": prefix,
            "step": step,
            "data_set": self._system.descriptor.name,
            "file_pattern": list(data.file_pattern),
            "pq_variant": build.pq_variant(self._options.evaluator_options),
            "versions": version.list_versions(),
        }
        json_files.write_json(
            f"{self._directory}/eval/{RESULTS_FILE}", facts | dict(results)
        )

    def _prediction_directory(self) -> str:
        override = self._options.evaluator_options.override_save_dir
        if override and distribution.is_chief(self._strategy):
            return override
        return f"{self._directory}/vis"
