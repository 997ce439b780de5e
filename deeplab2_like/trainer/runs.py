# SPDX-License-Identifier: Apache-2.0
"""Training and evaluation, for programs and notebooks.

Importing this module imports neither TensorFlow nor Orbit; the functions do,
after they have checked that Orbit is installed.
"""

import os
from typing import Any

from deeplab2_like import config as config_lib
from deeplab2_like.config import run_config
from deeplab2_like.console import progress
from deeplab2_like.trainer import orbit_check
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
            `trainer_options.steps_per_loop` steps with the step reached and
            the mean losses, mean gradient norm and learning rate since the
            previous call.
        evaluate: Whether to evaluate every `evaluator_options.eval_interval`
            steps and at the end.
        options: Options of the run; the defaults when None.
        report: Display of the progress; on standard error when None.

    Returns:
        The results of the last evaluation; see `evaluate`. {} without one.

    Raises:
        UserError: There is a problem that the user can fix.
        SystemExit: The process received SIGTERM. The state is saved; the same
            call continues.
    """
    mode = "train_and_eval" if evaluate else "train"
    return _run(config, model_dir, mode, options, report, on_step)


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
        "warnings": sentences about numbers that are not defined.

    Raises:
        UserError: There is a problem that the user can fix.
    """
    if config is None:
        config = run_config.load_checked(os.fspath(model_dir))
    return _run(config, model_dir, "eval", options, report)


def evaluate_continuously(
    model_dir: str | os.PathLike[str],
    config: ConfigLike,
    *,
    options: RunOptions | None = None,
    report: progress.Progress | None = None,
) -> dict[str, Any]:
    """Evaluates each new checkpoint of a run; see `evaluate`."""
    return _run(config, model_dir, "continuous_eval", options, report)


def _run(
    config: ConfigLike,
    model_dir: str | os.PathLike[str],
    mode: str,
    options: RunOptions | None,
    report: progress.Progress | None,
    on_step: OnStep | None = None,
) -> dict[str, Any]:
    if not isinstance(config, config_lib.Config):
        config = config_lib.load(os.fspath(config))
    # Nothing that takes long is imported before the user's input is checked.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    orbit_check.require_orbit()
    from deeplab2_like.trainer import run

    return run.run_experiment(
        config,
        os.fspath(model_dir),
        mode,
        options or RunOptions(),
        on_step=on_step,
        report=report,
    )
