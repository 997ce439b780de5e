# SPDX-License-Identifier: Apache-2.0
"""Saves the state of a training run atomically and restores it strictly.

Restoring compares the names and shapes of both sides before it changes
anything. `checkpoints.files` reads the files.
"""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from absl import logging

from deeplab2_like import errors
from deeplab2_like.checkpoints import files as checkpoint_files


class CheckpointManager(tf.train.CheckpointManager):
    """A manager that only writes and deletes; see `restore_latest`."""

    def restore_or_initialize(self) -> None:
        """Does nothing: the state was restored before training started."""


def make_manager(
    directory: str,
    state: Mapping[str, Mapping[str, tf.Variable]],
    step: tf.Variable,
    *,
    keep: int,
    interval_steps: int,
) -> CheckpointManager:
    """Makes the manager that writes `ckpt-<step>` into a model folder.

    Args:
        directory: The model folder.
        state: Named groups of named variables.
        step: The step counter.
        keep: Number of checkpoints to keep.
        interval_steps: Least number of steps between two of them.
    """
    checkpoint = tf.train.Checkpoint(
        global_step=step, **{name: dict(group) for name, group in state.items()}
    )
    return CheckpointManager(
        checkpoint,
        directory,
        max_to_keep=keep,
        step_counter=step,
        checkpoint_interval=interval_steps,
    )


def restore_latest(
    directory: str,
    state: Mapping[str, Mapping[str, tf.Variable]],
    step: tf.Variable,
) -> str | None:
    """Restores the newest intact checkpoint of a model folder.

    Damaged ones are skipped with a warning.

    Args:
        directory: The model folder.
        state: Named groups of named variables, all of which are restored.
        step: The step counter.

    Returns:
        The prefix that was restored; None when there is no checkpoint.

    Raises:
        CheckpointError: All checkpoints or the state file are damaged, or the
            variables differ from the checkpoint's.
    """
    checkpoint_files.check_state_file(directory)
    damaged: errors.CheckpointError | None = None
    for prefix in reversed(checkpoint_files.list_checkpoints(directory)):
        try:
            values = checkpoint_files.read_checkpoint(prefix)
        except errors.CheckpointError as error:
            logging.warning("%s Trying the one before.", error)
            damaged = error
            continue
        assign_state(prefix, values, state, step)
        return prefix
    if damaged is not None:
        raise damaged
    return None


def assign_state(
    prefix: str,
    values: Mapping[str, np.ndarray],
    state: Mapping[str, Mapping[str, tf.Variable]],
    step: tf.Variable,
) -> None:
    """Assigns all values to all variables, or changes nothing.

    Args:
        prefix: Prefix of the checkpoint, for the message.
        values: Values of the checkpoint by name, `group/path`.
        state: Named groups of named variables.
        step: The step counter, named `global_step`.

    Raises:
        CheckpointError: A name is missing on one side, or shapes differ.
    """
    variables = {
        f"{group}/{path}": variable
        for group, members in state.items()
        for path, variable in members.items()
    }
    variables["global_step"] = step
    problems = _compare(values, variables)
    if problems:
        shown = "\n  ".join(problems[:10])
        more = f"\n  and {len(problems) - 10} more" * (len(problems) > 10)
        raise errors.CheckpointError(
            f"The checkpoint {prefix} is of another model or optimizer:\n"
            f"  {shown}{more}\nUse the config that made it, or another "
            "--model_dir."
        )
    for name, variable in variables.items():
        variable.assign(values[name])


def _compare(
    values: Mapping[str, np.ndarray], variables: Mapping[str, tf.Variable]
) -> list[str]:
    """Lists all differences in names and shapes."""
    problems = []
    for name in sorted({*values, *variables}):
        if name not in values:
            problems.append(f"{name} is not in the checkpoint")
        elif name not in variables:
            problems.append(f"{name} is not in the model")
        elif tuple(values[name].shape) != tuple(variables[name].shape):
            problems.append(
                f"{name} has shape {tuple(values[name].shape)} in the "
                f"checkpoint and {tuple(variables[name].shape)} in the model"
            )
    return problems
