# SPDX-License-Identifier: Apache-2.0
"""The files that describe an exported model.

The folder `assets.extra` of the SavedModel contains the data set descriptor
(classes, colors, ids), the config of the run and `export.json`. Needs neither
TensorFlow nor Keras.
"""

import dataclasses
import json
import os
import pathlib
from typing import Any

from google.protobuf import text_format

from deeplab2_like import errors
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.protos import config_pb2, dataset_descriptor_pb2
from deeplab2_like.storage import json_files

SAVED_MODEL_FILE = "saved_model.pb"
README_FILE = "README.md"
EXTRA_FOLDER = "assets.extra"
DATASET_FILE = "dataset.textproto"
CONFIG_FILE = "config.textproto"
INFO_FILE = "export.json"
FORMAT = 1


@dataclasses.dataclass(frozen=True)
class ExportInfo:
    """Facts about an exported model.

    Attributes:
        experiment_name: Name of the experiment in the config.
        checkpoint: Prefix of the checkpoint.
        step: Training step of the checkpoint.
        has_instances: Whether there are panoptic maps, not only semantic ones.
        max_pixels: Most pixels of a request, all its images together.
        canvas_size: [height, width] that every image is padded to; None where
            the canvas depends on the image.
        jit_compile: Whether post-processing is compiled by XLA, so that the
            model does not run where XLA is switched off.
        compute_precision: Precision of the network, "float32" or "bfloat16".
        versions: Versions of this package, TensorFlow, Keras and Python.
        parity: Result of the comparison with the live model: "images", their
            number, "equal_pixels", in 0..1, and "without_xla", whether one of
            them was compared with XLA switched off too.
        format: Version of the format of `export.json`.
    """

    experiment_name: str
    checkpoint: str
    step: int
    has_instances: bool
    max_pixels: int
    canvas_size: list[int] | None
    jit_compile: bool
    compute_precision: str
    versions: dict[str, str]
    parity: dict[str, Any]
    format: int = FORMAT


def write(
    directory: str | os.PathLike[str],
    info: ExportInfo,
    options: config_pb2.ExperimentOptions,
    dataset: dataset_descriptor_pb2.DatasetDescriptor,
) -> None:
    """Writes the files that describe an exported model.

    Args:
        directory: Folder of the SavedModel.
        info: Facts about the model.
        options: The config of the run.
        dataset: The data set descriptor.
    """
    folder = pathlib.Path(directory) / EXTRA_FOLDER
    folder.mkdir(exist_ok=True)
    for name, message in ((CONFIG_FILE, options), (DATASET_FILE, dataset)):
        text = text_format.MessageToString(message)
        (folder / name).write_text(text, encoding="utf-8")
    json_files.write_json(folder / INFO_FILE, dataclasses.asdict(info))


def load_info(directory: str | os.PathLike[str]) -> ExportInfo:
    """Loads the facts about an exported model.

    Raises:
        ExportError: The folder was not written by deeplab2-export, or is
            damaged.
    """
    folder = pathlib.Path(directory)
    if not (folder / SAVED_MODEL_FILE).is_file():
        what = "is not a folder" if not folder.is_dir() else "is no SavedModel"
        raise errors.ExportError(
            f"{folder} {what}. Give the folder that deeplab2-export wrote; it "
            f"contains {SAVED_MODEL_FILE}."
        )
    file = folder / EXTRA_FOLDER / INFO_FILE
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if values["format"] > FORMAT:
            raise errors.ExportError(
                f"{folder} was written by a newer version of deeplab2_like "
                f"({values['versions']['deeplab2_like']}). Update this one."
            )
        names = [field.name for field in dataclasses.fields(ExportInfo)]
        return ExportInfo(**{name: values[name] for name in names})
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, errors.UserError):
            raise
        raise errors.ExportError(
            f"{folder} is a SavedModel, but {EXTRA_FOLDER}/{INFO_FILE} is "
            "missing or damaged. Only what deeplab2-export wrote can be used "
            "here: export the model again."
        ) from error


def load_descriptor(
    directory: str | os.PathLike[str],
) -> descriptor_lib.DatasetDescriptor:
    """Loads the data set of an exported model.

    Raises:
        ExportError: The descriptor is missing or damaged.
    """
    file = pathlib.Path(directory) / EXTRA_FOLDER / DATASET_FILE
    try:
        return descriptor_lib.load(str(file.resolve()))
    except errors.ConfigError as error:
        raise errors.ExportError(
            f"The data set of the exported model cannot be read: {error}"
        ) from error
