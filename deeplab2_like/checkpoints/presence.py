# SPDX-License-Identifier: Apache-2.0
"""Refuses paths without a checkpoint, before TensorFlow is imported."""

import os
import re

from deeplab2_like import errors
from deeplab2_like.storage import any_files, user_paths

_PARTS = re.compile(r"\.(index|meta|data-\d+-of-\d+)$")
# Besides indices: the state file can name a checkpoint in another folder.
_SIGNS = {"checkpoint", "saved_model.pb", "saved_model.pbtxt"}


def require(path: str, what: str = "The path ") -> None:
    """Checks that there may be a checkpoint at a path.

    `files.find_checkpoint` looks closer.

    Args:
        path: A folder, a prefix, one of the files of a checkpoint, or a file
            of Keras, PyTorch or detectron2.
        what: Beginning of the message, for example "--model_dir=".

    Raises:
        ConfigError: TensorFlow would read the path as a pattern.
        CheckpointError: There is no checkpoint.
    """
    path = user_paths.expand_checkpoint(path, what)
    if user_paths.is_remote(path) or user_paths.is_keras_file(path):
        return
    if os.path.isdir(path):
        if not may_hold(path):
            raise errors.CheckpointError(describe_empty_folder(path))
    elif not any(map(os.path.exists, (path, f"{prefix_of(path)}.index"))):
        if user_paths.is_foreign_file(path):
            raise errors.CheckpointError(
                f"There is no file {path}: give a .pth, .pkl or .safetensors "
                "file."
            )
        raise errors.CheckpointError(describe_missing(path))


def may_hold(folder: str) -> bool:
    """Returns whether a folder contains files of a checkpoint."""
    names = any_files.list_names(folder)
    return any(name in _SIGNS or _PARTS.search(name) for name in names)


def prefix_of(path: str) -> str:
    """Returns the prefix of the checkpoint that a file belongs to."""
    return _PARTS.sub("", path)


def describe_empty_folder(path: str) -> str:
    """Describes a folder without a checkpoint."""
    return (
        f"The folder {path} holds no checkpoint. Give a folder with "
        "ckpt-*.index files, or the prefix of a checkpoint."
    )


def describe_missing(path: str) -> str:
    """Describes a path that is neither a folder nor a checkpoint's."""
    prefix = prefix_of(path)
    return (
        f"There is no checkpoint {prefix}: the file {prefix}.index does not "
        "exist. Give a folder, a prefix such as run/ckpt-1000, or an .index "
        "file."
    )
