# SPDX-License-Identifier: Apache-2.0
"""Runs an experiment, after all checks that take no long time."""

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.config import Config
from deeplab2_like.console import native_logs, progress
from deeplab2_like.data import checks, graph_errors, pipeline
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.protos import config_pb2
from deeplab2_like.storage import whole_files
from deeplab2_like.trainer import (
    build,
    distribution,
    experiment,
    model_folder,
    run_options,
    training,
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
        mode: Mode of the run, one of `main.MODES`.
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
    trains = mode in ("train", "train_and_eval")
    config.require_filled(*_needed_fields(mode))
    if trains:
        build.check_trainable(config.options)
    if mode != "train":
        build.check_evaluable(config.options)
    with native_logs.hide_routine():
        # Workers have to connect before any operation is run.
        strategy = distribution.build_strategy(options.master, options.num_gpus)
        _start_xla()
    _check_first_records(config.options, mode)
    chief = distribution.is_chief(strategy)
    with contextlib.ExitStack() as stack:
        if trains and chief:
            model_folder.prepare(
                model_dir,
                config.options,
                sha256=config.sha256,
                allow_config_change=options.allow_config_change,
            )
            stack.enter_context(model_folder.training_lock(model_dir))
            checkpoint_files.purge_unfinished(model_dir)
        if options.repair_checkpoint_state:
            checkpoint_files.repair_state_file(model_dir)
        for warning in config.warnings:
            report.log(str(warning))
        run = experiment.Experiment(config, model_dir, strategy, report)
        stack.enter_context(_translated_errors(model_dir))
        if mode == "train":
            run.train(on_step=on_step)
        elif mode == "train_and_eval":
            run.train(evaluate=True, on_step=on_step)
        elif mode == "eval":
            run.evaluate()
        else:
            run.evaluate_continuously()
        return run.results


def _start_xla() -> None:
    """Compiles a first function, because XLA then logs routine lines."""
    one = tf.constant(1.0)
    tf.function(lambda x: x + 1.0, jit_compile=True, autograph=False)(one)


def _needed_fields(mode: str) -> list[str]:
    """Lists the fields whose placeholders a mode needs filled."""
    fields: list[str] = []
    if mode in ("train", "train_and_eval"):
        fields += ["train_dataset_options", "model_options.initial_checkpoint"]
    if mode != "train":
        fields += ["eval_dataset_options"]
    return fields


def _check_first_records(
    options: config_pb2.ExperimentOptions, mode: str
) -> None:
    """Decodes a record of each split, so that errors are found early."""
    splits = []
    if mode in ("train", "train_and_eval"):
        splits.append((options.train_dataset_options, True))
    if mode != "train":
        data = options.eval_dataset_options
        splits.append((data, data.decode_groundtruth_label))
    for split, is_label_required in splits:
        descriptor = descriptor_lib.load(split.dataset)
        checks.check_first_record(
            split.file_pattern,
            pipeline.LabelRules.from_descriptor(descriptor),
            is_label_required=is_label_required,
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
