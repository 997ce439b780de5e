# SPDX-License-Identifier: Apache-2.0
"""Saves the state of a training run atomically and restores it strictly.

Restoring compares the names and shapes of both sides before it changes
anything. `checkpoints.files` reads the files.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Mapping

import numpy as np
import tensorflow as tf
from absl import logging

from deeplab2_like import errors
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.trainer import light_checkpoints

State = Mapping[str, Mapping[str, tf.Variable]]


@dataclasses.dataclass(frozen=True)
class SaveOptions:
    """What is saved, when and how.

    Attributes:
        keep: Number of checkpoints to keep.
        interval_steps: Checkpoints are saved at multiples of this.
        keeps_optimizer: Whether checkpoints before the newest one keep the
            state of the optimizer; see `light_checkpoints`.
        is_async: Whether files are written while the training goes on.
    """

    keep: int
    interval_steps: int
    keeps_optimizer: bool = True
    is_async: bool = False


class CheckpointManager(tf.train.CheckpointManager):
    """A manager that only writes and deletes; see `restore_latest`.

    A checkpoint counts as saved when its files are complete and contain every
    variable. Only then the state file names it and older ones are deleted.

    Attributes:
        last_step: Step of the last checkpoint that was saved, or whose writing
            has begun, or that was restored; None when there is none.
        saved_step: The same, of checkpoints that are complete.
        around: Makes the context in which it saves, or waits for that.
    """

    def __init__(
        self,
        checkpoint: tf.train.Checkpoint,
        directory: str,
        step: tf.Variable,
        *,
        names: Collection[str],
        options: SaveOptions,
    ):
        """Creates the manager.

        Args:
            checkpoint: The objects to save.
            directory: See `make_manager`.
            step: See `make_manager`.
            names: Names of all values of a checkpoint.
            options: See `make_manager`.
        """
        super().__init__(
            checkpoint,
            directory,
            max_to_keep=options.keep,
            step_counter=step,
            checkpoint_interval=options.interval_steps,
        )
        self.around: Callable[[], contextlib.AbstractContextManager[None]] = (
            contextlib.nullcontext
        )
        self._step = step
        self._names = set(names)
        self._options = options
        now = int(step.numpy())
        is_saved = tf.io.gfile.exists(f"{directory}/ckpt-{now}.index")
        self.last_step: int | None = now if is_saved else None
        self.saved_step = self.last_step
        # The step whose name is to be in the state file; None for none.
        self._unnamed: int | None = None

    def restore_or_initialize(self) -> None:
        """Does nothing: the state was restored before training started."""

    def save(
        self,
        checkpoint_number: int | tf.Variable | None = None,
        check_interval: bool = True,
        options: tf.train.CheckpointOptions | None = None,
    ) -> str | None:
        """Saves a checkpoint unless that of this step is there.

        With `SaveOptions.is_async` it only copies the values and returns; see
        `sync`.

        Args:
            checkpoint_number: Number in the name; the step.
            check_interval: Whether to save at multiples of the interval only.
            options: Orbit's; those of `SaveOptions` are taken instead.

        Returns:
            Prefix of the checkpoint; None when none was saved.

        Raises:
            CheckpointError: This checkpoint is incomplete, or the one before
                could not be written in the background.
            OpError: A file cannot be written.
        """
        del options
        step = int(self._step.numpy())
        interval = self._options.interval_steps
        if step == self.last_step or (check_interval and step % interval):
            return None
        if self._options.is_async:
            self.sync()  # The one before, which is over by now as a rule.
        with self.around():
            prefix = super().save(
                step if checkpoint_number is None else checkpoint_number,
                check_interval=False,
                options=self._write_options(step),
            )
        if prefix is not None:
            self.last_step = step
        return prefix

    def save_now(self) -> None:
        """Saves this step, whatever the interval; returns when it is saved."""
        self.save(check_interval=False)
        self.sync()

    def sync(self) -> None:
        """Waits for a checkpoint that is written in the background.

        Raises:
            CheckpointError: It could not be written.
            OpError: The same, where TensorFlow names the reason.
        """
        with self.around():
            super().sync()
        step, is_complete = self.last_step, self.saved_step == self.last_step
        if is_complete and self._is_named():
            return
        self.last_step = self.saved_step
        failure = self._take_failure(f"{self.directory}/ckpt-{step}")
        if is_complete and failure is None:
            return
        if isinstance(failure, errors.UserError | tf.errors.OpError):
            raise failure
        what = (
            "named by the file `checkpoint` of"
            if is_complete
            else ("written to")
        )
        raise errors.CheckpointError(
            f"The checkpoint of step {step} could not be {what} "
            f"{self.directory} ({str(failure)[:200]}). "
            f"{self._describe_intact()}"
        ) from failure

    def _is_named(self) -> bool:
        """Returns whether the state file names the last one that was saved."""
        step, self._unnamed = self._unnamed, None
        if step is None or not self._options.is_async:
            return True  # There is none, or an error was raised at once.
        named = checkpoint_files.read_state_file(self.directory)
        return named.rpartition("/")[2] == f"ckpt-{step}"

    def _take_failure(self, prefix: str) -> Exception | None:
        """Returns the error of a write in the background.

        TensorFlow raises it when the next write begins, and when the process
        ends if there is none.
        """
        verbosity = logging.get_verbosity()
        logging.set_verbosity(logging.FATAL)  # It would log the error, too.
        try:
            self.checkpoint.write(
                f"{prefix}_again_temp",
                tf.train.CheckpointOptions(enable_async=True),
            )
        except Exception as error:  # Whatever the thread stored.
            return error
        finally:
            logging.set_verbosity(verbosity)
        return None

    def _write_options(self, step: int) -> tf.train.CheckpointOptions:
        def complete() -> None:
            # Called when all files are there, before the state file names them.
            self._verify(f"{self.directory}/ckpt-{step}")
            self.saved_step = self._unnamed = step
            if not self._options.keeps_optimizer:
                own = f"ckpt-{step}"
                light_checkpoints.lighten_all(
                    [p for p in self.checkpoints if not p.endswith(f"/{own}")]
                )

        return tf.train.CheckpointOptions(
            enable_async=self._options.is_async,
            experimental_write_callbacks=[complete],
        )

    def _verify(self, prefix: str) -> None:
        """Deletes and reports a checkpoint that lacks a variable.

        TensorFlow leaves out, with a warning, what it cannot copy.
        """
        missing = self._names - set(checkpoint_files.list_names(prefix))
        if not missing:
            return
        checkpoint_files.delete(prefix)
        raise errors.CheckpointError(
            f"The checkpoint {prefix} was written without {len(missing)} of "
            f"{len(self._names)} variables, such as {min(missing)}, and was "
            f"deleted. {self._describe_intact()} Try it with trainer_options "
            "{ async_checkpoints: false }."
        )

    def _describe_intact(self) -> str:
        if self.saved_step is None:
            return "Nothing was saved before."
        return f"That of step {self.saved_step} is intact."


def make_manager(
    directory: str, state: State, step: tf.Variable, options: SaveOptions
) -> CheckpointManager:
    """Makes the manager that writes `ckpt-<step>` into a model folder.

    Args:
        directory: The model folder.
        state: Named groups of named variables.
        step: The step counter, restored.
        options: What is saved, when and how.
    """
    checkpoint = tf.train.Checkpoint(
        global_step=step, **{name: dict(group) for name, group in state.items()}
    )
    return CheckpointManager(
        checkpoint,
        directory,
        step,
        names=["global_step", *_flatten(state)],
        options=options,
    )


def _flatten(state: State) -> dict[str, tf.Variable]:
    """Returns the variables by their names in a checkpoint."""
    return {
        f"{group}/{path}": variable
        for group, members in state.items()
        for path, variable in members.items()
    }


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
    directory: str,
    state: State,
    step: tf.Variable,
    *,
    warn: Callable[[str], None] = logging.warning,
) -> str | None:
    """Restores the newest intact checkpoint of a model folder.

    Damaged ones are passed over with a warning that names them and the one
    that was restored.

    Args:
        directory: The model folder.
        state: Named groups of named variables, all of which are restored.
        step: The step counter.
        warn: Function that prints a warning.

    Returns:
        The prefix that was restored; None when there is no checkpoint.

    Raises:
        CheckpointError: All checkpoints or the state file are damaged, or the
            variables differ from the checkpoint's.
    """
    checkpoint_files.check_state_file(directory)
    damaged: list[errors.CheckpointError] = []
    for prefix in reversed(checkpoint_files.list_checkpoints(directory)):
        try:
            values = checkpoint_files.read_checkpoint(prefix)
        except errors.CheckpointError as error:
            damaged.append(error)
            continue
        assign_state(prefix, values, state, step)
        for found in damaged:
            warn(f"{found} It was passed over for the older {prefix}.")
        return prefix
    if damaged:
        raise damaged[0]
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
    variables = {**_flatten(state), "global_step": step}
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
