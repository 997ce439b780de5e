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
from deeplab2_like.trainer import light_checkpoints

State = Mapping[str, Mapping[str, tf.Variable]]


class CheckpointManager(tf.train.CheckpointManager):
    """A manager that only writes and deletes; see `restore_latest`.

    Attributes:
        last_step: Step of the last checkpoint that was saved or restored; None
            when there is none.
    """

    def __init__(
        self,
        checkpoint: tf.train.Checkpoint,
        directory: str,
        step: tf.Variable,
        *,
        keep: int,
        interval_steps: int,
        keeps_optimizer: bool,
    ):
        """Creates the manager.

        Args:
            checkpoint: The objects to save.
            directory: See `make_manager`.
            step: See `make_manager`.
            keep: See `make_manager`.
            interval_steps: See `make_manager`.
            keeps_optimizer: See `make_manager`.
        """
        super().__init__(
            checkpoint,
            directory,
            max_to_keep=keep,
            step_counter=step,
            checkpoint_interval=interval_steps,
        )
        self._step = step
        self._interval = interval_steps
        self._keeps_optimizer = keeps_optimizer
        now = int(step.numpy())
        is_saved = tf.io.gfile.exists(f"{directory}/ckpt-{now}.index")
        self.last_step: int | None = now if is_saved else None

    def restore_or_initialize(self) -> None:
        """Does nothing: the state was restored before training started."""

    def save(
        self,
        checkpoint_number: int | tf.Variable | None = None,
        check_interval: bool = True,
        options: tf.train.CheckpointOptions | None = None,
    ) -> str | None:
        """Saves a checkpoint unless that of this step is there.

        Args:
            checkpoint_number: Number in the name; the step.
            check_interval: Whether to save at multiples of the interval only.
            options: See `tf.train.CheckpointManager`.

        Returns:
            Prefix of the checkpoint; None when none was saved.
        """
        step = int(self._step.numpy())
        if step == self.last_step or (check_interval and step % self._interval):
            return None
        prefix = super().save(
            step if checkpoint_number is None else checkpoint_number,
            check_interval=False,
            options=options,
        )
        if prefix is not None:
            self.last_step = step
            if not self._keeps_optimizer:
                light_checkpoints.lighten_all(
                    [p for p in self.checkpoints if p != prefix]
                )
        return prefix

    def save_now(self) -> None:
        """Saves this step, whatever the interval."""
        self.save(check_interval=False)


def make_manager(
    directory: str,
    state: State,
    step: tf.Variable,
    *,
    keep: int,
    interval_steps: int,
    keeps_optimizer: bool = True,
) -> CheckpointManager:
    """Makes the manager that writes `ckpt-<step>` into a model folder.

    Args:
        directory: The model folder.
        state: Named groups of named variables.
        step: The step counter, restored.
        keep: Number of checkpoints to keep.
        interval_steps: Checkpoints are saved at multiples of this.
        keeps_optimizer: Whether checkpoints before the newest one keep the
            state of the optimizer; see `light_checkpoints`.
    """
    checkpoint = tf.train.Checkpoint(
        global_step=step, **{name: dict(group) for name, group in state.items()}
    )
    return CheckpointManager(
        checkpoint,
        directory,
        step,
        keep=keep,
        interval_steps=interval_steps,
        keeps_optimizer=keeps_optimizer,
    )


def describe_size(state: State, *, keep: int, keeps_optimizer: bool) -> str:
    """Returns a sentence about the size of a checkpoint and its parts.

    Args:
        state: Named groups of named variables.
        keep: Number of checkpoints that are kept.
        keeps_optimizer: See `make_manager`.
    """
    sizes = {"weights": 0, "optimizer": 0, "averages": 0}
    for name, group in state.items():
        part = "averages" if name == "average" else "weights"
        part = "optimizer" if name.startswith("optimizer") else part
        sizes[part] += sum(
            int(np.prod(v.shape)) * v.dtype.size for v in group.values()
        )
    total = sum(sizes.values())
    unit, factor = ("MB", 1e-6) if total >= 1e5 else ("kB", 1e-3)
    if total >= 1e9:
        unit, factor = "GB", 1e-9
    parts = ", ".join(
        f"{name} {factor * size:.1f}" for name, size in sizes.items() if size
    )
    text = f"Checkpoints of {factor * total:.3g} {unit}: {parts}."
    if keep > 1 and keeps_optimizer:
        return (
            f"{text} {keep} are kept; trainer_options {{ keep_optimizer: LAST "
            "} keeps the optimizer in the newest one only."
        )
    if keep > 1:
        return f"{text} Of {keep}, only the newest one keeps the optimizer."
    return text


def find_trained(directory: str, total: int) -> tuple[str, int] | None:
    """Looks for a checkpoint of a run that is complete.

    Args:
        directory: The model folder.
        total: The last step of the run.

    Returns:
        Prefix and step of the newest checkpoint, if it is intact and of the
        last step or a later one; else None.

    Raises:
        CheckpointError: The state file is damaged.
    """
    checkpoint_files.check_state_file(directory)
    prefixes = checkpoint_files.list_checkpoints(directory)
    if not prefixes:
        return None
    try:
        step = checkpoint_files.read_step(prefixes[-1])
    except errors.CheckpointError:
        return None  # `restore_latest` describes it.
    return (prefixes[-1], step) if step >= total else None


def restore_latest(
    directory: str, state: State, step: tf.Variable
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
    state: State,
    step: tf.Variable,
) -> None:
    """Assigns all values to all variables, or changes nothing.

    A checkpoint without the state of the optimizer, see `light_checkpoints`,
    leaves that as it is, with a warning.

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
    if light_checkpoints.is_light(values):
        absent = [
            name
            for name in variables
            if name not in values and light_checkpoints.is_removable(name)
        ]
        if absent:
            logging.warning(
                "%s has no state of the optimizer, which starts anew: "
                "trainer_options.keep_optimizer was LAST.",
                prefix,
            )
        variables = {k: v for k, v in variables.items() if k not in absent}
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
