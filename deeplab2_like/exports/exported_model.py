# SPDX-License-Identifier: Apache-2.0
"""The files that describe an exported model.

The folder `assets.extra` of the SavedModel contains the data set descriptor
(classes, colors, ids), the classes with the colors of pictures as JSON, the
config of the run and `export.json`. Needs neither TensorFlow nor Keras.
"""

import dataclasses
import hashlib
import json
import math
import os
import pathlib
from typing import Any

from google.protobuf import text_format

from deeplab2_like import errors
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.labels import palette
from deeplab2_like.protos import config_pb2, dataset_descriptor_pb2
from deeplab2_like.storage import json_files

SAVED_MODEL_FILE = "saved_model.pb"
README_FILE = "README.md"
EXTRA_FOLDER = "assets.extra"
DATASET_FILE = "dataset.textproto"
CONFIG_FILE = "config.textproto"
CLASSES_FILE = "classes.json"
INFO_FILE = "export.json"
FORMAT = 1
# Their content identifies a model; an index has the checksum of each variable.
_IDENTIFYING = (
    SAVED_MODEL_FILE,
    "variables/variables.index",
    f"{EXTRA_FOLDER}/{DATASET_FILE}",
)
# Most files of a call where each has a canvas of its own size.
_MAX_ROWS = 1 << 10


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
            model does not run where XLA is switched off. Not for the compiled
            twins among `signatures`, whose names end in "_xla".
        compute_precision: Precision of the network, "float32" or "bfloat16".
        versions: Versions of this package, TensorFlow, Keras and Python.
        parity: Result of the comparison with the live model: "images", their
            number, "equal_pixels", in 0..1, and "without_xla", whether one of
            them was compared with XLA switched off too. With weights of 16
            bits also "agreement", see `parity.measure_agreement`.
        format: Version of the format of `export.json`.
        signatures: Names of the signatures; empty in files of earlier
            versions.
        canvas_sizes: [height, width] of each size of canvas, the smallest
            first, where images are placed on one of several.
        warmup_sizes: [height, width] of images that use each size of canvas.
        batch_sizes: Numbers of files of a call that the model is warmed up
            with, ascending.
        weights: Type in which kernels are stored.
        config_sha256: SHA-256 of the file of the config, in hexadecimal.
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
    signatures: list[str] = dataclasses.field(default_factory=list)
    canvas_sizes: list[list[int]] = dataclasses.field(default_factory=list)
    warmup_sizes: list[list[int]] = dataclasses.field(default_factory=list)
    batch_sizes: list[int] = dataclasses.field(default_factory=lambda: [1])
    weights: str = "float32"
    config_sha256: str = ""

    @property
    def fixed_sizes(self) -> list[list[int]]:
        """The sizes of canvas; none where the canvas depends on the image."""
        one = [] if self.canvas_size is None else [self.canvas_size]
        return self.canvas_sizes or one

    @property
    def max_rows(self) -> int:
        """Most files of a call of a signature with independent rows."""
        if not self.fixed_sizes:
            return _MAX_ROWS
        largest = max(math.prod(size) for size in self.fixed_sizes)
        return max(1, self.max_pixels // largest)

    @property
    def typical_sizes(self) -> list[list[int]]:
        """Sizes of images, [height, width], one for each size of canvas."""
        return self.warmup_sizes or self.fixed_sizes or [[65, 65]]


_REQUIRED = frozenset(
    field.name
    for field in dataclasses.fields(ExportInfo)
    if field.default is dataclasses.MISSING
    and field.default_factory is dataclasses.MISSING
)


def format_config(options: config_pb2.ExperimentOptions) -> str:
    """Returns the text of the file of the config."""
    return text_format.MessageToString(options)


def hash_config(options: config_pb2.ExperimentOptions) -> str:
    """Returns `ExportInfo.config_sha256`."""
    text = format_config(options)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


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
    folder = _name_extra(directory)
    folder.mkdir(exist_ok=True)
    for name, text in (
        (CONFIG_FILE, format_config(options)),
        (DATASET_FILE, text_format.MessageToString(dataset)),
    ):
        (folder / name).write_bytes(text.encode("utf-8"))
    classes = list_classes(descriptor_lib.from_proto(dataset))
    json_files.write_json(folder / CLASSES_FILE, classes)
    json_files.write_json(folder / INFO_FILE, dataclasses.asdict(info))


def _name_extra(
    directory: str | os.PathLike[str], name: str = ""
) -> pathlib.Path:
    """Returns the path of a file that describes a model, or of their folder."""
    return pathlib.Path(directory, EXTRA_FOLDER, name)


def list_classes(
    descriptor: descriptor_lib.DatasetDescriptor,
) -> list[dict[str, Any]]:
    """Lists the classes for programs that know nothing of this package.

    Returns:
        For each class its index, name, id in the data set, whether it is a
        thing, and its color in pictures, [red, green, blue] in 0..255.
    """
    colors = palette.choose_class_colors(descriptor).tolist()
    return [
        {
            "class": index,
            "name": descriptor.class_names[index],
            "category_id": descriptor.category_ids[index],
            "isthing": descriptor.is_thing(index),
            "color": colors[index],
        }
        for index in range(descriptor.num_classes)
    ]


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
    file = _name_extra(folder, INFO_FILE)
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if values["format"] > FORMAT:
            raise errors.ExportError(
                f"{folder} was written by a newer version of deeplab2_like "
                f"({values['versions']['deeplab2_like']}). Update this one."
            )
        # Those that files of earlier versions lack are optional.
        names = [
            field.name
            for field in dataclasses.fields(ExportInfo)
            if field.name in values or field.name in _REQUIRED
        ]
        return ExportInfo(**{name: values[name] for name in names})
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, errors.UserError):
            raise
        raise errors.ExportError(
            f"{folder} is a SavedModel, but {EXTRA_FOLDER}/{INFO_FILE} is "
            "missing or damaged. Only what deeplab2-export wrote can be used "
            "here: export the model again."
        ) from error


def identify(directory: str | os.PathLike[str]) -> str:
    """Identifies an exported model by its content, wherever it lies."""
    found = hashlib.sha256()
    for name in _IDENTIFYING:
        file = pathlib.Path(directory) / name
        if file.is_file():
            found.update(file.read_bytes())
    return found.hexdigest()


def load_options(
    directory: str | os.PathLike[str],
) -> config_pb2.ExperimentOptions:
    """Loads the config of the run that was exported; raises `ExportError`."""
    file = _name_extra(directory, CONFIG_FILE)
    try:
        text = file.read_text(encoding="utf-8")
        return text_format.Parse(text, config_pb2.ExperimentOptions())
    except (OSError, ValueError, text_format.ParseError) as error:
        raise errors.ExportError(
            f"The config of the exported model, {file}, cannot be read. Export "
            "the model again."
        ) from error


def load_descriptor(
    directory: str | os.PathLike[str],
) -> descriptor_lib.DatasetDescriptor:
    """Loads the data set of an exported model; raises `ExportError`."""
    file = _name_extra(directory, DATASET_FILE)
    try:
        return descriptor_lib.load(str(file.resolve()))
    except errors.ConfigError as error:
        raise errors.ExportError(
            f"The data set of the exported model cannot be read: {error}"
        ) from error
