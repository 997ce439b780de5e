# SPDX-License-Identifier: Apache-2.0
"""The resolved config that a training run keeps in its model folder."""

import atexit
import shutil
import tempfile
from collections.abc import Sequence

from google.protobuf import text_format

from deeplab2_like import errors
from deeplab2_like.config import loader, paths
from deeplab2_like.protos import config_pb2
from deeplab2_like.storage import any_files

CONFIG_FILE = "config.textproto"


def load_run_config(directory: str) -> config_pb2.ExperimentOptions:
    """Loads the config that a model folder was made with.

    Raises:
        CheckpointError: There is none, or it cannot be parsed.
    """
    file = _find(directory)
    try:
        return text_format.Parse(
            any_files.read_text(file), config_pb2.ExperimentOptions()
        )
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise errors.CheckpointError(f"{file} is damaged: {error}") from error


def load_checked(
    directory: str, overrides: Sequence[str] = ()
) -> loader.Config:
    """Loads the config of a model folder, completed and checked.

    Args:
        directory: The model folder.
        overrides: As in `config.load`.

    Raises:
        CheckpointError: There is none.
        ConfigError: It has problems, or an override has.
    """
    file = _find(directory)
    if any_files.is_remote(file):
        file = _copy(directory)
    return loader.load(file, overrides)


def _copy(directory: str) -> str:
    """Copies config and descriptors of a remote folder; returns the config's.

    They are read when they are needed, until the process ends.
    """
    folder = tempfile.mkdtemp(prefix="deeplab2_like_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in any_files.list_names(directory):
        if name.endswith(paths.SUFFIX):
            content = any_files.read_bytes(any_files.join(directory, name))
            with open(any_files.join(folder, name), "wb") as file:
                file.write(content)
    return any_files.join(folder, CONFIG_FILE)


def _find(directory: str) -> str:
    file = any_files.join(directory, CONFIG_FILE)
    if not any_files.exists(file):
        raise errors.CheckpointError(
            f"{directory} is not a model folder: it has no {CONFIG_FILE}. "
            "Give the --model_dir of a training run."
        )
    return file
