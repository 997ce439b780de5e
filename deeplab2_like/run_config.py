# SPDX-License-Identifier: Apache-2.0
"""The resolved config that a training run keeps in its model folder."""

import pathlib

from google.protobuf import text_format

from deeplab2_like import errors
from deeplab2_like.protos import config_pb2

CONFIG_FILE = "config.textproto"


def load_run_config(directory: str) -> config_pb2.ExperimentOptions:
    """Loads the config that a model folder was made with.

    Raises:
        CheckpointError: There is none, or it cannot be parsed.
    """
    file = pathlib.Path(directory) / CONFIG_FILE
    if not file.exists():
        raise errors.CheckpointError(
            f"{directory} is not a model folder: it has no {CONFIG_FILE}. "
            "Give the --model_dir of a training run."
        )
    try:
        return text_format.Parse(
            file.read_text(encoding="utf-8"), config_pb2.ExperimentOptions()
        )
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise errors.CheckpointError(f"{file} is damaged: {error}") from error
