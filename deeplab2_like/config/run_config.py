# SPDX-License-Identifier: Apache-2.0
"""The resolved config that a training run keeps in its model folder."""

import pathlib
from collections.abc import Sequence

from google.protobuf import text_format

from deeplab2_like import errors
from deeplab2_like.config import loader
from deeplab2_like.protos import config_pb2

CONFIG_FILE = "config.textproto"


def load_run_config(directory: str) -> config_pb2.ExperimentOptions:
    """Loads the config that a model folder was made with.

    Raises:
        CheckpointError: There is none, or it cannot be parsed.
    """
    file = _find(directory)
    try:
        return text_format.Parse(
            file.read_text(encoding="utf-8"), config_pb2.ExperimentOptions()
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
    return loader.load(_find(directory), overrides)


def _find(directory: str) -> pathlib.Path:
    file = pathlib.Path(directory) / CONFIG_FILE
    if not file.exists():
        raise errors.CheckpointError(
            f"{directory} is not a model folder: it has no {CONFIG_FILE}. "
            "Give the --model_dir of a training run."
        )
    return file
