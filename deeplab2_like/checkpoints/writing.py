# SPDX-License-Identifier: Apache-2.0
"""Writes checkpoints, under their names only when complete and verified."""

import pathlib
import re
import uuid
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.checkpoints import object_graph

# Value of each variable by the attribute names that lead to it.
Values = Mapping[tuple[str, ...], np.ndarray]


def resolve_target(target: str, step: int) -> str:
    """Returns the prefix of the checkpoint to write.

    Args:
        target: A folder (one that exists, or a path that ends with "/"), in
            which the checkpoint is called `ckpt-<step>`; or a prefix.
        step: The step of the checkpoint.
    """
    if target.endswith("/") or tf.io.gfile.isdir(target):
        return f"{target.rstrip('/')}/ckpt-{step}"
    return re.sub(r"\.(index|data-\d+-of-\d+)$", "", target)


def check_target(target: str, *, overwrite: bool) -> None:
    """Checks that a checkpoint may be written, before any work is done.

    Args:
        target: As in `resolve_target`.
        overwrite: Whether an existing checkpoint may be replaced.

    Raises:
        CheckpointError: There is a checkpoint that must not be replaced, or
            the folder holds others.
    """
    if target.endswith("/") or tf.io.gfile.isdir(target):
        found = [
            file
            for file in checkpoint_files.list_files(target.rstrip("/"))
            if file.endswith(".index")
        ]
        if found and not overwrite:
            raise errors.CheckpointError(
                f"The folder {target} already holds the checkpoint "
                f"{pathlib.Path(found[0]).stem}: give another folder or the "
                "prefix of a new checkpoint, or add --overwrite."
            )
        return
    _check_prefix(resolve_target(target, 0), overwrite)


def _check_prefix(prefix: str, overwrite: bool) -> None:
    if tf.io.gfile.exists(f"{prefix}.index") and not overwrite:
        raise errors.CheckpointError(
            f"The checkpoint {prefix} already exists: give another name, or "
            "add --overwrite."
        )


def write_checkpoint(
    prefix: str, values: Values, *, overwrite: bool = False
) -> None:
    """Writes a checkpoint, reads it back and only then names it `prefix`.

    Args:
        prefix: Prefix of the checkpoint; its folder is made if necessary.
        values: Values to write.
        overwrite: Whether a checkpoint of this name may be replaced.

    Raises:
        CheckpointError: The checkpoint exists, or cannot be written.
    """
    _check_prefix(prefix, overwrite)
    folder, _, name = prefix.rpartition("/")
    folder = folder or "."
    # Training deletes folders of such names: `purge_unfinished`.
    temporary = f"{folder}/{name}_{uuid.uuid4().hex[:8]}_temp"
    try:
        tf.io.gfile.makedirs(temporary)
        object_graph.make_checkpoint(values).write(f"{temporary}/{name}")
        _compare(f"{temporary}/{name}", values)
        _move(temporary, folder, name)
    except tf.errors.OpError as error:
        raise errors.CheckpointError(
            f"The checkpoint {prefix} cannot be written: "
            f"{str(error.message).split(chr(10))[0][:200]}."
        ) from error
    finally:
        if tf.io.gfile.isdir(temporary):
            tf.io.gfile.rmtree(temporary)


def _compare(prefix: str, values: Values) -> None:
    """Checks that a checkpoint contains some values, bit for bit."""
    graph = checkpoint_files.read_graph(prefix)
    keys = {path: graph.key_of(path) for path in values}
    written = checkpoint_files.read_values(
        prefix, [key for key in keys.values() if key is not None]
    )
    for path, value in values.items():
        key = keys[path]
        if key is None or not _is_same(written[key], value):
            raise errors.CheckpointError(
                f"The checkpoint {prefix} differs from what was written into "
                f"it at {'/'.join(path)}: the disk or its file system is "
                "damaged."
            )


def _is_same(a: np.ndarray, b: np.ndarray) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _move(temporary: str, folder: str, name: str) -> None:
    """Moves complete files into place, the index last.

    Without an index the others are no checkpoint.
    """
    part = re.compile(re.escape(name) + r"\.(index|data-\d+-of-\d+)")
    for old in checkpoint_files.list_files(folder):
        if part.fullmatch(old.rpartition("/")[2]):
            tf.io.gfile.remove(old)
    files = sorted(tf.io.gfile.listdir(temporary))
    for file in sorted(files, key=lambda file: file.endswith(".index")):
        tf.io.gfile.rename(f"{temporary}/{file}", f"{folder}/{file}")
