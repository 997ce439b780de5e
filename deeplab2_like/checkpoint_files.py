# SPDX-License-Identifier: Apache-2.0
"""The checkpoint files of a folder: found, checked, repaired and read.

A checkpoint of this package holds each variable under its name: `variables/`
the model's, `optimizer/` the optimizer's, `average/` the averaged weights, and
the step.
"""

import pathlib
import re
import shutil
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from deeplab2_like import errors

_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_STATE_FILE = "checkpoint"
_BOOKKEEPING = {"_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter"}
_READ_ERRORS = (tf.errors.OpError, IndexError, ValueError, RuntimeError)


def find_checkpoint(path: str) -> str:
    """Gives the prefix that a user's path means.

    Args:
        path: A model folder (its latest checkpoint), a prefix such as
            `run/ckpt-1000`, or one of the files that belong to it.

    Raises:
        CheckpointError: There is no checkpoint.
    """
    if tf.io.gfile.isdir(path):
        candidates = list_checkpoints(path)
        if candidates:
            return candidates[-1]
        found = tf.train.latest_checkpoint(path)
        if found:
            return found
        raise errors.CheckpointError(
            f"The folder {path} holds no checkpoint. Give a folder with "
            "ckpt-*.index files, or the prefix of a checkpoint."
        )
    prefix = re.sub(r"\.(index|data-\d+-of-\d+)$", "", path)
    if tf.io.gfile.exists(prefix + ".index"):
        return prefix
    raise errors.CheckpointError(
        f"There is no checkpoint {prefix}: the file {prefix}.index does not "
        "exist. Give a folder, a prefix such as run/ckpt-1000, or an .index "
        "file."
    )


def list_checkpoints(directory: str) -> list[str]:
    """Lists the prefixes of the `ckpt-<step>` in a folder, oldest first."""
    steps = {}
    for file in tf.io.gfile.glob(f"{directory}/ckpt-*.index"):
        match = re.search(r"ckpt-(\d+)\.index$", file)
        if match:
            steps[int(match[1])] = file.removesuffix(".index")
    return [steps[step] for step in sorted(steps)]


def check_state_file(directory: str) -> None:
    """Checks that TensorFlow's state file agrees with the checkpoints.

    TensorFlow would start from step 0 beside intact checkpoints when this
    file is damaged or gone.

    Raises:
        CheckpointError: There are checkpoints, but the file does not name one
            of them.
    """
    prefixes = list_checkpoints(directory)
    if not prefixes:
        return
    try:
        state = tf.train.get_checkpoint_state(directory)
        named = state.model_checkpoint_path if state else ""
    except _READ_ERRORS:
        named = ""
    if named and tf.io.gfile.exists(named + ".index"):
        return
    newest = pathlib.Path(prefixes[-1]).name
    raise errors.CheckpointError(
        f"{directory} holds {len(prefixes)} checkpoints up to {newest}, but "
        f"its file `{_STATE_FILE}` is missing or damaged. To continue from "
        f"{newest} run again with --repair_checkpoint_state; to start anew use "
        "another --model_dir."
    )


def repair_state_file(directory: str) -> None:
    """Writes the state file anew from the checkpoints that are there."""
    prefixes = list_checkpoints(directory)
    if prefixes:
        tf.compat.v1.train.update_checkpoint_state(
            directory, prefixes[-1], all_model_checkpoint_paths=prefixes
        )


def purge_unfinished(directory: str) -> None:
    """Deletes what a killed process left while it wrote a checkpoint."""
    for leftover in tf.io.gfile.glob(f"{directory}/ckpt-*_temp"):
        shutil.rmtree(leftover, ignore_errors=True)


def read_checkpoint(prefix: str) -> dict[str, np.ndarray]:
    """Reads all values of a checkpoint.

    Returns:
        Values by name; `group/path` for those that this package wrote.

    Raises:
        CheckpointError: The files are damaged or incomplete.
    """
    try:
        reader = tf.train.load_checkpoint(prefix)
        # Bookkeeping is read too: any part that cannot be read is damage.
        values = {
            name: reader.get_tensor(name)
            for name in reader.get_variable_to_shape_map()
        }
    except _READ_ERRORS as error:
        reason = str(error).split("\n")[0][:200]
        raise errors.CheckpointError(
            f"The checkpoint {prefix} is damaged or incomplete ({reason}). "
            "Use an older one or copy its files again."
        ) from error
    return {
        _unescape(strip_suffix(name)): value
        for name, value in values.items()
        if strip_suffix(name) not in _BOOKKEEPING
    }


def strip_suffix(key: str) -> str:
    """Gives the readable part of a key in TensorFlow's object graph."""
    return key.removesuffix(_SUFFIX)


def _unescape(name: str) -> str:
    # TensorFlow's object graph writes "/" of a name as ".S" and "." as "..".
    return re.sub(r"\.(S|\.)", lambda m: "/" if m[1] == "S" else ".", name)


def model_values(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Gives the model's values of a checkpoint, averaged ones if it has any."""
    chosen = {}
    for group in ("variables/", "average/"):
        chosen.update(
            {
                name.removeprefix(group): value
                for name, value in values.items()
                if name.startswith(group)
            }
        )
    return chosen
