# SPDX-License-Identifier: Apache-2.0
"""Removes the state of the optimizer from older checkpoints.

Adam keeps two numbers for each weight, so that a checkpoint without them has a
third of the size. It can be evaluated, exported and started from. The counter
of the optimizer's steps stays, which its learning rate depends on.
"""

from collections.abc import Iterable, Sequence

import tensorflow as tf
from absl import logging

from deeplab2_like import errors
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.checkpoints import writing as checkpoint_writing

_GROUP = "optimizer"
_COUNTERS = ("iteration", "learning_rate")


def is_removable(name: str) -> bool:
    """Returns whether a value belongs to the state that is removed.

    Args:
        name: Name of the value in a checkpoint, `group/path`.
    """
    group, _, path = name.partition("/")
    is_counter = path.rpartition("/")[2] in _COUNTERS
    return group.startswith(_GROUP) and bool(path) and not is_counter


def is_light(names: Iterable[str]) -> bool:
    """Returns whether a checkpoint has an optimizer without its state.

    Args:
        names: Names of its values, or the values by name.
    """
    own = [name for name in names if name.startswith(_GROUP)]
    return bool(own) and not any(is_removable(name) for name in own)


def lighten_all(prefixes: Sequence[str]) -> None:
    """Removes the optimizer from checkpoints that still have it.

    A checkpoint that cannot be read or written again stays as it is, with a
    warning.

    Args:
        prefixes: Prefixes of the checkpoints.
    """
    for prefix in prefixes:
        try:
            _lighten(prefix)
        except (errors.CheckpointError, OSError) as error:
            logging.warning("The optimizer stays in %s: %s", prefix, error)


def _lighten(prefix: str) -> None:
    write_light(prefix, prefix)


def write_light(prefix: str, target: str) -> bool:
    """Writes a checkpoint without its optimizer.

    Args:
        prefix: Prefix of the checkpoint.
        target: Prefix of the one that is written, which may be the same.

    Returns:
        Whether it was written; not where the checkpoint is that light already.

    Raises:
        CheckpointError: It cannot be read or written.
    """
    if is_light(checkpoint_files.list_names(prefix)):
        return False
    values = checkpoint_files.read_checkpoint(prefix)
    kept = {
        tuple(name.split("/", 1)): value
        for name, value in values.items()
        if not is_removable(name)
    }
    with tf.device("CPU:0"):
        checkpoint_writing.write_checkpoint(target, kept, overwrite=True)
    return True
