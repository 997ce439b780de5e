# SPDX-License-Identifier: Apache-2.0
"""Checks of a run that need no TensorFlow, made before it is imported."""

import json
import os

from deeplab2_like import errors
from deeplab2_like.checkpoints import best, imagenet, presence
from deeplab2_like.config import Config
from deeplab2_like.config.rules import consistency as consistency_rules
from deeplab2_like.data import unlabeled_files
from deeplab2_like.data.large import lists
from deeplab2_like.data.records import paths as record_paths
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.protos import config_pb2, model_pb2, semi_supervised_pb2
from deeplab2_like.results import raw_predictions
from deeplab2_like.storage import large_list_names
from deeplab2_like.trainer import (
    model_folder,
    profile_steps,
    report_checks,
    run_options,
)


def check(
    config: Config,
    model_dir: str,
    mode: str,
    options: run_options.RunOptions,
) -> None:
    """Checks what a run reads and writes; changes nothing.

    Args:
        config: The checked config.
        model_dir: The model folder.
        mode: Mode of the run, one of `run_options.MODES` or `TUNE`.
        options: Options of the run.

    Raises:
        ConfigError: The options do not support the mode, or describe several
            runs.
        DataError: There are no records.
        CheckpointError: The folder was made by another config, another trainer
            uses it, it is that of a best checkpoint, or it has no checkpoint
            to evaluate.
    """
    trains = mode in run_options.TRAINING_MODES
    if trains:
        _refuse_rounds(config.options)
    if mode != "train":
        _check_large(config.options, mode, options)
    if options.profile_steps:
        profile_steps.parse(options.profile_steps)
    config.require_filled(*_list_needed_fields(mode))
    if mode != "train":
        _check_evaluable(config.options)
        if options.report:
            data = config.options.eval_dataset_options
            report_checks.check(
                options.compare_with, has_labels=data.decode_groundtruth_label
            )
    if trains and _is_first_worker():
        model_folder.check(
            model_dir,
            config.options,
            allow_config_change=options.allow_config_change,
        )
    if trains:
        best.check_trainable(model_dir)
    if mode == "train_and_eval":
        best.check_usable(model_dir)
    if trains and not presence.may_hold(model_dir):
        check_start(config.options.model_options)
    if mode == run_options.TUNE:
        _check_tunable(config.options, options)
    if mode in ("eval", run_options.TUNE):
        presence.require(model_dir, "model_dir=")
    if trains:
        data = config.options.train_dataset_options
        lists.check_inputs(data.file_pattern)
        if data.mixed_file_pattern:
            record_paths.find_files(data.mixed_file_pattern)
    if trains and consistency_rules.uses_consistency(config.options):
        unlabeled_files.find_unlabeled(
            config.options.semi_supervised.unlabeled_pattern
        )
    if mode != "train":
        lists.check_inputs(config.options.eval_dataset_options.file_pattern)


def _refuse_rounds(options: config_pb2.ExperimentOptions) -> None:
    """Names the program for a config that describes several runs."""
    method = semi_supervised_pb2.SemiSupervisedOptions.NAIVE_STUDENT
    if options.semi_supervised.method == method:
        raise errors.ConfigError(
            "semi_supervised.method NAIVE_STUDENT takes several runs: start "
            "them by deeplab2-naive-student, with the same flags. To train on "
            "the human labels only, remove the field."
        )


def _list_needed_fields(mode: str) -> list[str]:
    """Lists the fields whose placeholders a mode needs filled."""
    fields: list[str] = []
    if mode in run_options.TRAINING_MODES:
        fields += ["train_dataset_options", "model_options.initial_checkpoint"]
        fields += ["semi_supervised"]
    if mode != "train":
        fields += ["eval_dataset_options"]
    return fields


def check_start(options: model_pb2.ModelOptions) -> None:
    """Checks that the weights exist from which training is to start.

    Args:
        options: The model of the config.

    Raises:
        ConfigError: TensorFlow would read the path as a pattern.
        CheckpointError: There are no such weights.
    """
    if options.initial_checkpoint:
        path = imagenet.resolve(
            options.initial_checkpoint,
            options.backbone.name,
            options.backbone.graph,
        )
        presence.require(path, "initial_checkpoint=")


def _check_evaluable(options: config_pb2.ExperimentOptions) -> None:
    """Checks the options that only evaluation uses."""
    evaluator = options.evaluator_options
    descriptor = descriptor_lib.load(options.eval_dataset_options.dataset)
    if evaluator.save_raw_predictions:
        raw_predictions.check_format(
            descriptor,
            panoptic_format=evaluator.raw_panoptic_format,
            convert_ids=evaluator.convert_raw_to_eval_ids,
        )
    saves = evaluator.save_raw_predictions or evaluator.save_predictions
    if not options.eval_dataset_options.decode_groundtruth_label and not saves:
        raise errors.ConfigError(
            "eval_dataset_options.decode_groundtruth_label is false, so that "
            "nothing can be scored, and nothing is to be saved either. Set "
            "evaluator_options.save_raw_predictions or save_predictions to "
            "true."
        )


def _check_tunable(
    options: config_pb2.ExperimentOptions, run: run_options.RunOptions
) -> None:
    """Checks that settings can be chosen on the evaluation images."""
    if not options.eval_dataset_options.decode_groundtruth_label:
        raise errors.ConfigError(
            "eval_dataset_options.decode_groundtruth_label is false, and "
            "--tune needs labels to score by. Give images that have them."
        )
    if run.master or os.environ.get("TF_CONFIG"):
        raise errors.ConfigError(
            "--tune runs on one machine, on its CPU or GPUs: leave out "
            "--master, and unset the environment variable TF_CONFIG."
        )


def _check_large(
    options: config_pb2.ExperimentOptions,
    mode: str,
    run: run_options.RunOptions,
) -> None:
    """Checks what large images do not support."""
    patterns = options.eval_dataset_options.file_pattern
    if not large_list_names.names_lists(patterns):
        return
    flag = "--tune" if mode == run_options.TUNE else "--report"
    if mode == run_options.TUNE or run.report:
        raise errors.ConfigError(
            f"{flag} needs records of images that fit in memory, and "
            "eval_dataset_options.file_pattern names a list of large images. "
            f"Leave out {flag}, or evaluate records of parts of the images."
        )


def _is_first_worker() -> bool:
    """Returns whether this process may write the model folder.

    TF_CONFIG decides; `distribution.is_chief` asks TensorFlow.
    """
    try:
        cluster_config = json.loads(os.environ.get("TF_CONFIG") or "{}")
        task = cluster_config.get("task", {})
        if "chief" in cluster_config.get("cluster", {}):
            return bool(task.get("type") == "chief")
        return not task.get("index")
    except (ValueError, AttributeError, TypeError):
        return True  # `distribution` describes what is wrong with it.
