# SPDX-License-Identifier: Apache-2.0
"""Predicts images with an exported model, or with that of a training run.

    deeplab2-predict --model=SAVED_OR_RUN IMAGE_OR_FOLDER... --out=RESULTS

SAVED_OR_RUN is a folder that deeplab2-export wrote, or the --model_dir of a
training, whose newest checkpoint is taken. Written are for each image its
segments (NAME.panoptic.png) and a picture with a legend (NAME.overlay.png), and
for all images panoptic.json, in COCO's panoptic format.
"""

import shlex
from collections.abc import Sequence

from absl import flags

from deeplab2_like import errors
from deeplab2_like.console import path_flags, program, progress
from deeplab2_like.predict import files

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_MODEL = path_flags.define(
    "model",
    None,
    "Folder of the model: what deeplab2-export wrote, or the --model_dir of a "
    "training. Required.",
    flag_values=_FLAGS,
    holds_checkpoint=True,
)
_OUT = path_flags.define(
    "out", None, "Folder of the results. Required.", flag_values=_FLAGS
)
_IMAGE_JSON = path_flags.define(
    "image_json",
    None,
    "JSON file of the ground truth in COCO's format, whose image ids are taken "
    "by file name, so that the results can be scored; by default the ids are "
    "the file names.",
    flag_values=_FLAGS,
)

_RAW_PANOPTIC_FORMAT = flags.DEFINE_enum(
    "raw_panoptic_format",
    None,
    ("two_channel_png", "three_channel_png", "two_channel_numpy_array"),
    "Also write the label maps that evaluation servers take, to the folders "
    "raw_semantic and raw_panoptic: class and instance of each pixel, in this "
    "form.",
    flag_values=_FLAGS,
)
_EXIF = flags.DEFINE_enum(
    "exif",
    "apply",
    ("apply", "ignore"),
    "Whether images are turned upright as their EXIF orientation says; ignore "
    "takes them as stored, for data sets whose labels were drawn so.",
    flag_values=_FLAGS,
)
_CONVERT_RAW_TO_EVAL_IDS = flags.DEFINE_bool(
    "convert_raw_to_eval_ids",
    True,
    "Whether --raw_panoptic_format writes the data set's own category ids "
    "instead of class indices.",
    flag_values=_FLAGS,
)


def _main(arguments: Sequence[str]) -> None:
    model = program.require(
        _MODEL, "what deeplab2-export or deeplab2-train wrote", "saved"
    )
    out = program.require(_OUT, "the folder of the results", "predictions")
    if not arguments:
        raise errors.ConfigError(
            "No image is given. Name images or folders, for example "
            f"deeplab2-predict --model={shlex.quote(model)} photo.jpg "
            f"--out={shlex.quote(out)}."
        )
    report = progress.Progress()
    image_ids = None
    if _IMAGE_JSON.value:
        image_ids = files.load_image_ids(_IMAGE_JSON.value)
    done = files.predict_files(
        model,
        arguments,
        out,
        image_ids=image_ids,
        raw_panoptic_format=_RAW_PANOPTIC_FORMAT.value,
        convert_raw_to_eval_ids=_CONVERT_RAW_TO_EVAL_IDS.value,
        exif=_EXIF.value,
        report=report,
    )
    report.log(
        f"{done.num_images} image(s) predicted by {model}, "
        f"{done.milliseconds:.0f} ms per image"
    )
    report.log(f"Pictures      {out}/*{files.OVERLAY_ENDING}")
    report.log(f"COCO-panoptic {done.json_path} and *{files.PANOPTIC_ENDING}")
    if _RAW_PANOPTIC_FORMAT.value:
        report.log(f"Label maps    {out}/raw_semantic, raw_panoptic")
    if done.problems:
        total = done.num_images + len(done.problems)
        raise errors.DataError(
            f"{len(done.problems)} of {total} images could not be read and "
            "were left out, see above."
        )


def cli() -> None:
    """Predicts files and folders (console command deeplab2-predict)."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
