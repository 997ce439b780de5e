# SPDX-License-Identifier: Apache-2.0
"""Training and evaluation, for programs and notebooks.

Importing this module imports neither TensorFlow nor Orbit; the functions do,
after the checks that need neither.
"""

import dataclasses
import os
import time
from typing import Any

from deeplab2_like import config as config_lib
from deeplab2_like.config import run_config
from deeplab2_like.console import native_logs, progress
from deeplab2_like.storage import user_paths
from deeplab2_like.trainer import orbit_check, run_checks, run_options
from deeplab2_like.trainer.run_options import OnStep, RunOptions

ConfigLike = config_lib.Config | str | os.PathLike[str]


def train(
    config: ConfigLike,
    model_dir: str | os.PathLike[str],
    on_step: OnStep | None = None,
    *,
    evaluate: bool = False,
    options: RunOptions | None = None,
    report: progress.Progress | None = None,
) -> dict[str, Any]:
    """Trains to the last step of a config; the same call again continues.

    Args:
        config: A config, its file, or the name of a shipped one.
        model_dir: Folder of the run: checkpoints, summaries, config.
        on_step: Function that is called after every
            `trainer_options.steps_per_loop` steps, and where a checkpoint or a
            summary is due, with the step reached and the mean losses, mean
            gradient norm and learning rate since the previous call.
        evaluate: Whether to evaluate every `evaluator_options.eval_interval`
            steps and at the end.
        options: Options of the run; the defaults when None.
        report: Display of the progress; on standard error when None.

    Returns:
        The results of the last evaluation; see `evaluate`. {} without one.

    Raises:
        UserError: There is a problem that the user can fix.
        SystemExit: The process received SIGTERM (code 75) or SIGINT, that is
            Ctrl-C (130). The state is saved; the same call continues. After a
            second SIGINT it is not saved, and the process itself ends if
            TensorFlow is busy.
    """
    mode = "train_and_eval" if evaluate else "train"
    return run(config, model_dir, mode, options, report, on_step)


def evaluate(
    model_dir: str | os.PathLike[str],
    config: ConfigLike | None = None,
    *,
    options: RunOptions | None = None,
    report: progress.Progress | None = None,
) -> dict[str, Any]:
    """Evaluates the newest checkpoint of a run.

    Args:
        model_dir: Folder of the run.
        config: See `train`; the config of the folder when None.
        options: See `train`.
        report: See `train`.

    Returns:
        "summaries": {name: number}, such as "evaluation/pq/PQ" in 0..1.
        "table": the panoptic quality of each class as text, and
        "average_precision": {name: number}, for systems with instances.
        "iou_per_class": list of the IoU of each class in 0..1.
        "classes": {name: {"PQ", "SQ", "RQ", "IoU", "AP", "tp", "fp", "fn"}}.
        "groups": the same of "all", "things" and "stuff".
        "confusion": pixels of each true class by predicted class.
        "images": {"name", "PQ", "mIoU", ...} of at most 100, worst first.
        "num_images", "pixel_accuracy".
        "warnings": sentences about numbers that are not defined, and about
        images that were made smaller. Numbers that are not defined are NaN.

    Raises:
        UserError: There is a problem that the user can fix.
    """
    if config is None:
        config = run_config.load_checked(user_paths.expand(model_dir))
    return run(config, model_dir, "eval", options, report)


def tune(
    model_dir: str | os.PathLike[str],
    config: ConfigLike | None = None,
    *,
    options: RunOptions | None = None,
    report: progress.Progress | None = None,
) -> dict[str, Any]:
    """Chooses thresholds of post-processing on the evaluation images.

    The config with the values of the highest panoptic quality is written to
    `tuned.textproto` in the model folder.

    Args:
        model_dir: Folder of the run, whose newest checkpoint is taken.
        config: See `train`; the config of the folder when None.
        options: See `train`.
        report: See `train`.

    Returns:
        "before", "after": panoptic quality in 0..1 with the values of the
        config, and with those that were chosen.
        "settings": list of {"field", "from", "to"}.
        "changes": the changes in their order, each with its "gain".
        "two_fold": the same chosen on one half of the images and scored on the
        other, both ways; [] where a half has no labels.
        "tried": all values that were tried, with their "PQ".
        "num_images". "config": path of the config that was written.

    Raises:
        UserError: There is a problem that the user can fix.
    """
    if config is None:
        config = run_config.load_checked(user_paths.expand(model_dir))
    return run(config, model_dir, run_options.TUNE, options, report)


def evaluate_continuously(
    model_dir: str | os.PathLike[str],
    config: ConfigLike,
    *,
    options: RunOptions | None = None,
    report: progress.Progress | None = None,
) -> dict[str, Any]:
    """Evaluates each new checkpoint of a run; see `evaluate`."""
    return run(config, model_dir, "continuous_eval", options, report)


def run(
    config: ConfigLike,
    model_dir: str | os.PathLike[str],
    mode: str,
    options: RunOptions | None = None,
    report: progress.Progress | None = None,
    on_step: OnStep | None = None,
) -> dict[str, Any]:
    """Trains or evaluates.

    Args:
        config: See `train`.
        model_dir: See `train`.
        mode: Mode of the run, one of `run_options.MODES` or `TUNE`.
        options: See `train`.
        report: See `train`.
        on_step: See `train`.

    Returns:
        The results of the last evaluation; see `evaluate`. {} without one.

    Raises:
        UserError: See `train`.
        SystemExit: See `train`.
    """
    model_dir = user_paths.expand_checkpoint(model_dir, "model_dir=")
    if not isinstance(config, config_lib.Config):
        config = config_lib.load(os.fspath(config))
    options = options or RunOptions()
    if options.began is None:
        options = dataclasses.replace(options, began=time.time())
    # Nothing that takes long is imported before the user's input is checked.
    run_checks.check(config, model_dir, mode, options)
    orbit_check.require_orbit()
    if os.environ.get("TF_CONFIG"):
        # When a worker ends, TensorFlow logs pages of errors in the others.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    native_logs.load_tensorflow()
    with native_logs.hide_routine():
        from deeplab2_like.trainer import run as run_lib

    return run_lib.run_experiment(
        config, model_dir, mode, options, on_step=on_step, report=report
    )
