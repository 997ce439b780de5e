# SPDX-License-Identifier: Apache-2.0
"""Finds, checks, repairs and reads the files of checkpoints.

A checkpoint of this package contains each variable under its name:
`variables/` the model's, `optimizer/` the optimizer's, `average/` the averaged
weights, and the step.
"""

import contextlib
import pathlib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.checkpoints import best, object_graph, presence
from deeplab2_like.storage import user_paths

_STATE_FILE = "checkpoint"
_BOOKKEEPING = {object_graph.GRAPH_KEY, "save_counter"}
_READ_ERRORS = (tf.errors.OpError, IndexError, ValueError, RuntimeError)
# The last bytes of a file in TensorFlow's table format: an index, or a whole
# checkpoint of TensorFlow's first format.
_TABLE_MAGIC = bytes.fromhex("57fb808b247547db")


def find_checkpoint(path: str) -> str:
    """Returns the prefix of the checkpoint at a path.

    Args:
        path: A model folder (its latest checkpoint), the folder of a run's
            best checkpoint, a prefix such as `run/ckpt-1000`, or one of the
            files that belong to it.

    Raises:
        ConfigError: TensorFlow would read the path as a pattern.
        CheckpointError: There is no checkpoint, or it is of another kind.
    """
    path = user_paths.expand_checkpoint(path, "The checkpoint ")
    if tf.io.gfile.isdir(path):
        return _find_in_folder(path)
    prefix = presence.prefix_of(path)
    if tf.io.gfile.exists(prefix + ".index"):
        return prefix
    if tf.io.gfile.exists(path):
        raise errors.CheckpointError(_describe_other_file(path))
    raise errors.CheckpointError(presence.describe_missing(path))


def _find_in_folder(path: str) -> str:
    named = best.find_named(path)
    if named is not None:
        return named
    candidates = list_checkpoints(path)
    if candidates:
        return candidates[-1]
    for name in ("saved_model.pb", "saved_model.pbtxt"):
        if tf.io.gfile.exists(f"{path}/{name}"):
            raise errors.CheckpointError(
                f"{path} is a SavedModel, not a checkpoint: give the "
                "checkpoint that it was exported from."
            )
    with contextlib.suppress(*_READ_ERRORS):
        found = tf.train.latest_checkpoint(path)
        if found:
            return found
    indices = [file for file in list_files(path) if file.endswith(".index")]
    if len(indices) == 1:
        return indices[0].removesuffix(".index")
    if indices:
        names = ", ".join(pathlib.Path(file).stem for file in sorted(indices))
        raise errors.CheckpointError(
            f"The folder {path} holds several checkpoints, and nothing says "
            f"which is the latest: give the prefix of one of {names}."
        )
    raise errors.CheckpointError(presence.describe_empty_folder(path))


def _describe_other_file(path: str) -> str:
    """Describes an existing file that belongs to no checkpoint."""
    if is_keras_file(path):
        return (
            f"{path} is a Keras file, whose weights can only start an encoder "
            "(model_options.initial_checkpoint): give a checkpoint of a whole "
            "model, a folder or a prefix such as run/ckpt-1000."
        )
    if user_paths.is_foreign_file(path):
        return (
            f"{path} holds the weights of an encoder of another library, which "
            "can only start one (model_options.initial_checkpoint): give a "
            "checkpoint of a whole model, a folder or a prefix such as "
            "run/ckpt-1000."
        )
    with tf.io.gfile.GFile(path, "rb") as file:
        file.seek(max(0, file.size() - len(_TABLE_MAGIC)))
        ending = file.read()
    if ending == _TABLE_MAGIC:
        return describe_tensorflow1(path)
    return (
        f"{path} is no part of a checkpoint: give a folder, a prefix such as "
        "run/ckpt-1000, or an .index file."
    )


def describe_tensorflow1(path: str) -> str:
    """Describes why a checkpoint of TensorFlow 1 cannot be read."""
    return (
        f"{path} is a checkpoint of TensorFlow 1, which names operations "
        "instead of objects and cannot be matched with a model: give one that "
        "TensorFlow 2 wrote."
    )


def is_keras_file(path: str) -> bool:
    """Returns whether a path is that of a Keras weights or model file."""
    return user_paths.is_keras_file(path)


def list_files(directory: str) -> list[str]:
    """Lists the paths of what is in a folder, sorted; [] if it is none.

    The folder's name is not read as a pattern, as `tf.io.gfile.glob` does.
    """
    if not tf.io.gfile.isdir(directory):
        return []
    names = (name.rstrip("/") for name in tf.io.gfile.listdir(directory))
    folder = directory.rstrip("/")
    return [f"{folder}/{name}" for name in sorted(names)]


def list_checkpoints(directory: str) -> list[str]:
    """Lists the prefixes of the `ckpt-<step>` in a folder, oldest first."""
    steps = {}
    for file in list_files(directory):
        match = re.search(r"/ckpt-(\d+)\.index$", file)
        if match:
            steps[int(match[1])] = file.removesuffix(".index")
    return [steps[step] for step in sorted(steps)]


def check_state_file(directory: str) -> None:
    """Checks that TensorFlow's state file agrees with the checkpoints.

    When this file is damaged or missing, TensorFlow would start from step 0
    although there are checkpoints. A single one without the file is accepted:
    a process was killed before it wrote it.

    Raises:
        CheckpointError: There are checkpoints, but the file does not name one
            of them; or it is there, and no checkpoint.
    """
    prefixes = list_checkpoints(directory)
    named = read_state_file(directory)
    if named and tf.io.gfile.exists(named + ".index"):
        return
    is_there = tf.io.gfile.exists(f"{directory}/{_STATE_FILE}")
    if not is_there and len(prefixes) <= 1:
        return  # A process may be killed between its first one and the file.
    if not prefixes:
        raise errors.CheckpointError(
            f"{directory} holds no checkpoint, but its file `{_STATE_FILE}` "
            f"names {pathlib.Path(named).name or 'one'}: its files were "
            "deleted or not copied. Copy ckpt-*.index and ckpt-*.data-* back; "
            f"to start anew use another --model_dir, or delete {directory}/"
            f"{_STATE_FILE}."
        )
    newest = pathlib.Path(prefixes[-1]).name
    raise errors.CheckpointError(
        f"{directory} holds {len(prefixes)} checkpoints up to {newest}, but "
        f"its file `{_STATE_FILE}` is missing or damaged. To continue from "
        f"{newest} run again with --repair_checkpoint_state; to start anew use "
        "another --model_dir."
    )


def repair_state_file(directory: str) -> None:
    """Rewrites the state file from the existing checkpoints."""
    prefixes = list_checkpoints(directory)
    if prefixes:
        tf.compat.v1.train.update_checkpoint_state(
            directory, prefixes[-1], all_model_checkpoint_paths=prefixes
        )


def read_state_file(directory: str) -> str:
    """Returns the prefix that the state file names; "" if it names none."""
    try:
        state = tf.train.get_checkpoint_state(directory)
    except _READ_ERRORS:
        return ""
    return state.model_checkpoint_path if state else ""


def purge_unfinished(directory: str) -> None:
    """Deletes what processes left that were killed while they saved.

    That are folders of partial checkpoints, partial state files, and data
    without an index, unless the state file names it: then the index was lost.
    """
    paths = list_files(directory)
    indices = {path for path in paths if path.endswith(".index")}
    named = read_state_file(directory)
    for path in paths:
        name = path.rpartition("/")[2]
        if re.fullmatch(r"ckpt-.*_temp", name) and tf.io.gfile.isdir(path):
            with contextlib.suppress(tf.errors.OpError):
                tf.io.gfile.rmtree(path)
        data = re.fullmatch(r"(ckpt-\d+)\.data-\d+-of-\d+", name)
        is_data = data and f"{directory.rstrip('/')}/{data[1]}.index" not in (
            indices
        )
        is_lost = data and named.rpartition("/")[2] == data[1]
        is_partial = re.match(r"checkpoint\.tmp|ckpt-.*_temp\.", name)
        if (is_data and not is_lost) or is_partial:
            with contextlib.suppress(tf.errors.OpError):
                tf.io.gfile.remove(path)


def delete(prefix: str) -> None:
    """Deletes the files of a checkpoint, the index first."""
    folder, _, name = prefix.rpartition("/")
    paths = [
        path
        for path in list_files(folder or ".")
        if path.rpartition("/")[2].startswith(f"{name}.")
    ]
    for path in sorted(paths, key=lambda path: not path.endswith(".index")):
        tf.io.gfile.remove(path)


@contextlib.contextmanager
def _reporting_damage(prefix: str) -> Iterator[None]:
    try:
        yield
    except _READ_ERRORS as error:
        if isinstance(error, errors.CheckpointError):
            raise
        reason = str(error).split("\n")[0][:200]
        raise errors.CheckpointError(
            f"The checkpoint {prefix} is damaged or incomplete ({reason}). "
            "Use an older one or copy its files again."
        ) from error


def read_checkpoint(prefix: str) -> dict[str, np.ndarray]:
    """Reads all values of a checkpoint.

    Returns:
        Values by name, which is `group/path` in checkpoints of this package.

    Raises:
        CheckpointError: The files are damaged or incomplete.
    """
    keys = [key for key in list_keys(prefix) if not _is_bookkeeping(key)]
    values = read_values(prefix, keys)
    return {
        object_graph.readable_name(key): value for key, value in values.items()
    }


def read_step(prefix: str) -> int:
    """Reads the step of a checkpoint, and checks that all of it can be read.

    Returns:
        The step; 0 where there is none.

    Raises:
        CheckpointError: The files are damaged or incomplete.
    """
    keys = [
        key
        for key in list_keys(prefix)
        if object_graph.readable_name(key) == "global_step"
    ]
    values = list(read_values(prefix, keys).values())
    return int(values[0]) if values else 0


def list_names(prefix: str) -> list[str]:
    """Lists the names of the values that `read_checkpoint` returns.

    Raises:
        CheckpointError: The index is damaged.
    """
    return [
        object_graph.readable_name(key)
        for key in list_keys(prefix)
        if not _is_bookkeeping(key)
    ]


def _is_bookkeeping(key: str) -> bool:
    return key.removesuffix(object_graph.SUFFIX) in _BOOKKEEPING


def _open(prefix: str) -> Any:
    """Opens a checkpoint; `prefix` is never read as the name of a folder.

    `tf.train.load_checkpoint` asks first whether it is one, and some of
    TensorFlow's file systems (ram://) say so of each beginning of a path.
    """
    return tf.compat.v1.train.NewCheckpointReader(prefix)


def list_keys(prefix: str) -> list[str]:
    """Lists the keys of a checkpoint, as in its index.

    Raises:
        CheckpointError: The index is damaged.
    """
    with _reporting_damage(prefix):
        reader = _open(prefix)
        return sorted(reader.get_variable_to_shape_map())


def read_values(prefix: str, keys: Collection[str]) -> dict[str, np.ndarray]:
    """Reads some values of a checkpoint, and checks that all can be read.

    Args:
        prefix: Prefix of the checkpoint.
        keys: Keys of the values to return. The others are read too, one after
            the other, because any part that cannot be read is damage.

    Raises:
        CheckpointError: The files are damaged or incomplete.
    """
    wanted = set(keys)
    values = {}
    with _reporting_damage(prefix):
        reader = _open(prefix)
        for key in sorted(reader.get_variable_to_shape_map()):
            value = reader.get_tensor(key)
            if key in wanted:
                values[key] = value
    return values


def read_graph(prefix: str) -> object_graph.ObjectGraph:
    """Reads the object graph of a checkpoint.

    Raises:
        CheckpointError: The files are damaged, or there is none, as in
            checkpoints of TensorFlow 1.
    """
    with _reporting_damage(prefix):
        reader = _open(prefix)
        if not reader.has_tensor(object_graph.GRAPH_KEY):
            raise errors.CheckpointError(describe_tensorflow1(prefix))
        return object_graph.ObjectGraph(
            reader.get_tensor(object_graph.GRAPH_KEY)
        )


def model_values(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the values of the model in a checkpoint, averaged if possible."""
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
