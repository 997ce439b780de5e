# SPDX-License-Identifier: Apache-2.0
"""Runs an experiment, after all checks that take no long time."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.config import Config
from deeplab2_like.console import native_logs, progress
from deeplab2_like.data import checks, graph_errors, pipeline
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.protos import config_pb2, dataset_pb2
from deeplab2_like.storage import any_files, large_list_names, whole_files
from deeplab2_like.trainer import (
    best_checkpoint,
    checkpoint_manager,
    class_balance,
    distribution,
    experiment,
    folder_lock,
    model_folder,
    run_checks,
    run_options,
    supervision,
    training,
    unlabeled_checks,
    workers,
)

_NO_EARLY_STOP = (
    "warning: trainer_options.early_stopping_evaluations has no effect with "
    "--mode=train, which evaluates nothing: use --mode=train_and_eval."
)


def run_experiment(
    config: Config,
    model_dir: str,
    mode: str,
    options: run_options.RunOptions | None = None,
    *,
    on_step: run_options.OnStep | None = None,
    report: progress.Progress | None = None,
) -> dict[str, Any]:
    """Runs an experiment in one of its modes.

    Args:
        config: The checked config.
        model_dir: The model folder; created for training.
        mode: Mode of the run, one of `run_options.MODES` or `TUNE`.
        options: See `runs.train`.
        on_step: See `runs.train`.
        report: See `runs.train`.

    Returns:
        The results of the last evaluation; see `runs.evaluate`. {} without
        one.

    Raises:
        UserError: See `runs.train`.
        SystemExit: See `runs.train`.
    """
    options = options or run_options.RunOptions()
    report = report or progress.Progress()
    tf.get_logger().setLevel("ERROR")  # Users cannot act on its warnings.
    trains = mode in run_options.TRAINING_MODES
    run_checks.check(config, model_dir, mode, options)
    cluster, strategy = _connect(options, report)
    _check_first_records(config.options, mode)
    build = functools.partial(
        _build,
        config,
        model_dir,
        mode=mode,
        options=options,
        strategy=strategy,
        report=report,
    )
    with (
        workers.translated_errors(cluster, model_dir),
        _translated_errors(model_dir),
    ):
        if not trains:
            _repair(strategy, model_dir, options)
            workers.wait_for_all(strategy)
            run = build()
            _evaluate(run, mode)
            return run.evaluation.results
        with supervision.supervise(
            config.options.trainer_options.watchdog,
            model_dir,
            strategy,
            report=report,
            unlock=lambda: folder_lock.unlock(model_dir),
        ) as supervised:
            open_folder = _open_folder(
                config,
                model_dir,
                strategy=strategy,
                options=options,
                report=report,
            )
            return _train(
                config,
                model_dir,
                build=build,
                open_folder=open_folder,
                evaluates=mode == "train_and_eval",
                supervised=supervised,
                on_step=on_step,
            )


def _connect(
    options: run_options.RunOptions, report: progress.Progress
) -> tuple[workers.Cluster | None, tf.distribute.Strategy]:
    """Finds the other workers, if any, and connects to the accelerators."""
    cluster = None if options.master else workers.read_cluster()
    if cluster is not None:
        report.log(workers.describe_start(cluster))
    with native_logs.hide_routine():
        # Workers have to connect before any operation is run.
        strategy = distribution.build_strategy(options.master, options.num_gpus)
        _start_xla()
    return cluster, strategy


def _train(
    config: Config,
    model_dir: str,
    *,
    build: Callable[[], experiment.Experiment],
    open_folder: contextlib.AbstractContextManager[None],
    evaluates: bool,
    supervised: supervision.Supervision,
    on_step: run_options.OnStep | None,
) -> dict[str, Any]:
    """Trains; returns the results of the last evaluation."""
    with contextlib.ExitStack() as stack:
        with supervised.starting():
            stack.enter_context(open_folder)
            trained = _find_trained(
                config, model_dir, evaluates, supervised.report
            )
            if trained is not None and not evaluates:
                return {}  # Nothing is built for that.
            run = build()
        if trained is None:
            run.train(
                supervised=supervised, evaluate=evaluates, on_step=on_step
            )
        else:
            with (
                supervised.ending("in the evaluation; nothing is lost"),
                supervised.evaluating(),
            ):
                run.evaluation.evaluate_checkpoint(
                    trained,
                    keeps_best=True,
                    after_batch=supervised.after_batch,
                )
        return run.evaluation.results


@contextlib.contextmanager
def _open_folder(
    config: Config,
    model_dir: str,
    *,
    strategy: tf.distribute.Strategy,
    options: run_options.RunOptions,
    report: progress.Progress,
) -> Iterator[None]:
    """Locks and prepares the folder of a training inside a block."""
    with contextlib.ExitStack() as stack:
        if distribution.is_chief(strategy):
            stack.enter_context(
                folder_lock.training_lock(model_dir, report.log)
            )
            unlabeled_checks.check_new_run(config.options, model_dir, report)
            for change in model_folder.prepare(
                model_dir,
                config.options,
                sha256=config.sha256,
                allow_config_change=options.allow_config_change,
            ):
                report.log(f"Changed since the run began: {change}")
        _repair(strategy, model_dir, options)
        _clean(distribution.choose_folder(strategy, model_dir), model_dir)
        # None reads the folder before.
        workers.wait_for_all(strategy)
        yield


def _repair(
    strategy: tf.distribute.Strategy,
    model_dir: str,
    options: run_options.RunOptions,
) -> None:
    """Writes the state file of the checkpoints anew, where that is asked."""
    if options.repair_checkpoint_state and distribution.is_chief(strategy):
        checkpoint_files.repair_state_file(model_dir)


def _clean(folder: str, model_dir: str) -> None:
    """Removes what earlier processes left in the folder of this one."""
    checkpoint_files.purge_unfinished(folder)
    if folder == model_dir:
        if len(checkpoint_files.list_checkpoints(folder)) == 1:
            # A process may be killed between its first one and that file.
            checkpoint_files.check_state_file(folder)
            checkpoint_files.repair_state_file(folder)
    else:
        # All continue from the first worker's.
        for prefix in checkpoint_files.list_checkpoints(folder):
            checkpoint_files.delete(prefix)
        any_files.delete(any_files.join(folder, "checkpoint"))


def _build(
    config: Config,
    model_dir: str,
    *,
    mode: str,
    options: run_options.RunOptions,
    strategy: tf.distribute.Strategy,
    report: progress.Progress,
) -> experiment.Experiment:
    """Builds the objects of a run."""
    for warning in config.warnings:
        report.log(str(warning))
    patience = config.options.trainer_options.early_stopping_evaluations
    if patience and mode == "train":
        report.log(_NO_EARLY_STOP)
    if mode != run_options.TUNE:  # It computes no loss.
        config = _with_class_weights(
            config,
            model_dir,
            mode,
            report,
            distribution.is_chief(strategy),
        )
    run = experiment.Experiment(
        config, model_dir, strategy, report, options=options
    )
    if options.report:
        run.evaluation.add_report(options.compare_with)
    return run


def _evaluate(run: experiment.Experiment, mode: str) -> None:
    """Runs a mode that does not train."""
    if mode == "eval":
        run.evaluation.evaluate_newest()
    elif mode == run_options.TUNE:
        run.evaluation.tune_newest()
    else:
        run.evaluation.evaluate_continuously()


def _find_trained(
    config: Config, model_dir: str, evaluates: bool, report: progress.Progress
) -> str | None:
    """Returns the checkpoint of a run that is complete; None before that."""
    trainer_options = config.options.trainer_options
    total = trainer_options.solver_options.training_number_of_steps
    trained = checkpoint_manager.find_trained(model_dir, total)
    patience = trainer_options.early_stopping_evaluations
    if trained is None and patience and evaluates:
        return _find_stopped(model_dir, patience, report)
    if trained is None:
        return None
    prefix, step = trained
    report.log(
        f"Already trained to step {step} of {total}: {prefix}. Raise "
        "trainer_options.solver_options.training_number_of_steps to train on."
    )
    return prefix


def _find_stopped(
    model_dir: str, patience: int, report: progress.Progress
) -> str | None:
    """Returns the newest checkpoint of a run that was stopped early."""
    newest = checkpoint_manager.find_trained(model_dir, 0)
    if newest is None:
        return None
    prefix, step = newest
    best = best_checkpoint.BestCheckpoint(
        model_dir, keeps_optimizer=True, log=report.log
    )
    reason = best.describe_stop(patience, step)
    if not reason:
        return None
    report.log(reason)
    return prefix


def _with_class_weights(
    config: Config,
    model_dir: str,
    mode: str,
    report: progress.Progress,
    is_chief: bool,
) -> Config:
    """Returns the config with numbers as weights of classes.

    It also warns of classes that are known not to occur in the records.
    """
    trains = mode in run_options.TRAINING_MODES
    resolved = class_balance.resolve(
        config.options,
        model_dir,
        report,
        trains=trains,
        writes=trains and is_chief,
    )
    for warning in class_balance.list_absence_warnings(resolved, mode):
        report.log(warning)
    return dataclasses.replace(config, options=resolved)


def _start_xla() -> None:
    """Compiles a first function, because XLA then logs routine lines."""
    one = tf.constant(1.0)
    tf.function(lambda x: x + 1.0, jit_compile=True, autograph=False)(one)


def _check_first_records(
    options: config_pb2.ExperimentOptions, mode: str
) -> None:
    """Decodes a record of each split, so that errors are found early."""
    splits = []
    if mode in run_options.TRAINING_MODES:
        splits.append((options.train_dataset_options, True))
    if mode != "train":
        data = options.eval_dataset_options
        splits.append((data, data.decode_groundtruth_label))
    for split, is_label_required in splits:
        if large_list_names.names_lists(split.file_pattern):
            continue  # They are opened when the data set is built.
        descriptor = descriptor_lib.load(split.dataset)
        second = [split.mixed_file_pattern] if split.mixed_file_pattern else []
        for patterns in [split.file_pattern, *second]:
            checks.check_first_record(
                patterns,
                pipeline.LabelRules.from_descriptor(descriptor),
                is_label_required=is_label_required,
                allows_damage=split.on_damage == dataset_pb2.SKIP,
            )


@contextlib.contextmanager
def _translated_errors(model_dir: str) -> Iterator[None]:
    """Turns errors of TensorFlow into user errors where it is possible."""
    try:
        yield
    except tf.errors.OpError as error:
        for translate in (
            training.as_training_error,
            graph_errors.as_data_error,
        ):
            translated = translate(error)
            if translated is not None:
                raise translated from error
        if whole_files.is_disk_full(error):
            raise errors.CheckpointError(
                f"{whole_files.describe_full_disk(model_dir)} The previous "
                "checkpoint is intact; free some space and run the same "
                "command again."
            ) from error
        raise
