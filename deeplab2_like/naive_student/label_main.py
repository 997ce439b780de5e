# SPDX-License-Identifier: Apache-2.0
"""Labels images by a model, and writes them as records to learn from.

    deeplab2-pseudo-label --model=RUN INPUT... --out=RECORDS

RUN is the --model_dir of a training, whose newest checkpoint is taken, or a
folder that deeplab2-export wrote. An INPUT is an image, a folder, a TFRecord
file, a video, or a pattern of these. Written are pseudo-*.tfrecord, in the form
of all records, and pseudo.report.html with what the labels look like. Images
that are also in the validation set are refused. The same command goes on after
a kill. docs/semi_supervised.md says how students learn from the records.
"""

import shlex
from collections.abc import Sequence

from absl import flags

from deeplab2_like import errors
from deeplab2_like.console import (
    native_logs,
    path_flags,
    program,
    progress,
)
from deeplab2_like.naive_student.label_options import LabelOptions
from deeplab2_like.predict import inputs as inputs_lib
from deeplab2_like.predict import models
from deeplab2_like.predict.options import PredictOptions
from deeplab2_like.reports import installation
from deeplab2_like.storage import user_paths

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_MODEL = path_flags.define(
    "model",
    None,
    "Folder of the model: the --model_dir of a training, or what "
    "deeplab2-export wrote. Required.",
    flag_values=_FLAGS,
    holds_checkpoint=True,
)
_OUT = path_flags.define(
    "out", None, "Folder of the records. Required.", flag_values=_FLAGS
)
_LIST = path_flags.define_multi(
    "list",
    "Text file with further inputs, a path in each line; may be given several "
    "times.",
    flag_values=_FLAGS,
)
_SPLIT = flags.DEFINE_string(
    "split", "pseudo", "Names of the files begin with it.", flag_values=_FLAGS
)
_NUM_SHARDS = flags.DEFINE_integer(
    "num_shards",
    0,
    "Number of record files; 0 for as many as suit the number of images.",
    lower_bound=0,
    flag_values=_FLAGS,
)
_SCALES = flags.DEFINE_list(
    "scales",
    [],
    "Scales at which each image is predicted, whose predictions are averaged, "
    "such as 0.75,1,1.25. By default 1.",
    flag_values=_FLAGS,
)
_MIRRORED = flags.DEFINE_bool(
    "mirrored",
    False,
    "Also predict each image mirrored, and average both.",
    flag_values=_FLAGS,
)
_CONFIDENCE_THRESHOLD = flags.DEFINE_float(
    "confidence_threshold",
    0.0,
    "Pixels whose class has a lower probability get no label, in [0, 1).",
    flag_values=_FLAGS,
)
_CLASS_BALANCE = flags.DEFINE_float(
    "class_balance",
    1.0,
    "Share of the pixels of each class that keep their label, those of "
    "highest probability, in (0, 1].",
    flag_values=_FLAGS,
)
_IGNORE_MASK = path_flags.define(
    "ignore_mask",
    None,
    "PNG of what is never labelled, such as the own car: pixels other than 0.",
    flag_values=_FLAGS,
)
_VAL_PATTERN = path_flags.define_multi(
    "val_pattern",
    "TFRecord files of the validation set, in quotes, whose images are "
    "refused; may be given several times. By default those of the config of "
    "the training.",
    flag_values=_FLAGS,
)
_NUM_SAMPLES = flags.DEFINE_integer(
    "num_samples",
    24,
    "Images that the page shows.",
    lower_bound=0,
    flag_values=_FLAGS,
)
_EXIF = flags.DEFINE_enum(
    "exif",
    "apply",
    ("apply", "ignore"),
    "Whether image files are turned upright as their EXIF orientation says.",
    flag_values=_FLAGS,
)
_FRAME_STEP = flags.DEFINE_integer(
    "frame_step",
    1,
    "Of videos, label every how many-th frame.",
    flag_values=_FLAGS,
)
_START_SECONDS = flags.DEFINE_float(
    "start_seconds",
    0.0,
    "Of videos, label from this time on, in seconds.",
    flag_values=_FLAGS,
)
_END_SECONDS = flags.DEFINE_float(
    "end_seconds",
    None,
    "Of videos, label until before this time, in seconds; by default to the "
    "end.",
    flag_values=_FLAGS,
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite",
    False,
    "Replace records of the same --split that another model or other options "
    "made.",
    flag_values=_FLAGS,
)


def _read_scales() -> tuple[float, ...]:
    try:
        return tuple(float(text) for text in _SCALES.value)
    except ValueError:
        raise errors.ConfigError(
            f"--scales={','.join(_SCALES.value)} is no list of numbers. Give "
            "for example --scales=0.75,1,1.25."
        ) from None


def _main(arguments: Sequence[str]) -> None:
    model = program.require(
        _MODEL, "the --model_dir of a training", "runs/teacher"
    )
    out = program.require(_OUT, "the folder of the records", "pseudo")
    if user_paths.is_remote(out):
        raise errors.ConfigError(
            f"--out={out} is an address. Records are written to a local folder:"
            " give one, or mount the bucket and give its path."
        )
    inputs = list(arguments)
    for path in _LIST.value:
        inputs += inputs_lib.load_list(path)
    if not inputs:
        raise errors.ConfigError(
            "No image is given. Name images or folders, for example "
            f"deeplab2-pseudo-label --model={shlex.quote(model)} photos "
            f"--out={shlex.quote(out)}."
        )
    options = LabelOptions(
        scales=_read_scales(),
        mirrored=_MIRRORED.value,
        confidence_threshold=_CONFIDENCE_THRESHOLD.value,
        class_balance=_CLASS_BALANCE.value,
        ignore_mask=_IGNORE_MASK.value or "",
        split=_SPLIT.value,
        num_shards=_NUM_SHARDS.value,
        num_samples=_NUM_SAMPLES.value,
        val_patterns=tuple(_VAL_PATTERN.value) or None,
    )
    predict_options = PredictOptions(
        exif=_EXIF.value,
        frame_step=_FRAME_STEP.value,
        start_seconds=_START_SECONDS.value,
        end_seconds=_END_SECONDS.value,
    )
    installation.check()
    models.load_facts(model)
    inputs_lib.find_inputs(inputs, warn=lambda _: None)
    native_logs.load_tensorflow()
    from deeplab2_like.naive_student import labelling

    report = progress.Progress()
    done = labelling.label_images(
        model,
        inputs,
        out,
        options,
        predict_options=predict_options,
        overwrite=_OVERWRITE.value,
        report=report,
    )
    speed = f", {1000 * done.seconds:.0f} ms each" if done.seconds else ""
    report.log(f"{done.num_images} image(s) labelled by {model}{speed}")
    report.log(f"Records  {done.pattern}")
    report.log(f"Page     {out}/{_SPLIT.value}.report.html")
    if done.failures:
        raise errors.DataError(
            f"{len(done.failures)} of {done.num_images + len(done.failures)} "
            "images could not be read and were left out; "
            f"{out}/{_SPLIT.value}.report.json lists them."
        )


def cli() -> None:
    """Labels images (console command deeplab2-pseudo-label)."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
