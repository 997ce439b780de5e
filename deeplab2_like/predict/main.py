# SPDX-License-Identifier: Apache-2.0
"""Predicts images with an exported model, or with that of a training run.

    deeplab2-predict --model=SAVED_OR_RUN INPUT... --out=RESULTS

SAVED_OR_RUN is a folder that deeplab2-export wrote, or the --model_dir of a
training, whose newest checkpoint is taken. An INPUT is an image, a folder, a
TFRecord file, a video, or a pattern of these. Written are for each image its
segments (NAME.panoptic.png) and a picture with a legend (NAME.overlay.png), for
all images panoptic.json, in COCO's panoptic format, and for a video one with
its segments (NAME.overlay.mp4). The same command continues after a kill.
"""

import shlex
from collections.abc import Sequence

from absl import flags

from deeplab2_like import errors
from deeplab2_like.console import path_flags, program, progress
from deeplab2_like.large_images import parts
from deeplab2_like.predict import files
from deeplab2_like.predict import inputs as inputs_lib

_MAX_NAMED = 10

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

_LIST = path_flags.define_multi(
    "list",
    "Text file with further inputs, a path in each line; may be given several "
    "times.",
    flag_values=_FLAGS,
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite",
    False,
    "Predict all again, and replace results of another model, of other options "
    "and other files of the same names in --out. By default images that are "
    "predicted already are kept, and nothing else is replaced.",
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

_FRAME_STEP = flags.DEFINE_integer(
    "frame_step",
    1,
    "Of videos, predict every how many-th frame.",
    flag_values=_FLAGS,
)
_START_SECONDS = flags.DEFINE_float(
    "start_seconds",
    0.0,
    "Of videos, predict from this time on, in seconds.",
    flag_values=_FLAGS,
)
_END_SECONDS = flags.DEFINE_float(
    "end_seconds",
    None,
    "Of videos, predict until before this time, in seconds; by default to the "
    "end.",
    flag_values=_FLAGS,
)
_FRAME_RESULTS = flags.DEFINE_bool(
    "frame_results",
    False,
    "Of videos, also write the segments of each frame, as a PNG and in "
    "panoptic.json.",
    flag_values=_FLAGS,
)

_LINK = flags.DEFINE_bool(
    "link",
    False,
    "Give segments of consecutive frames the id of their object, and write "
    "NAME.tracks.json: of videos, of the images of a folder in the order of "
    "their names, and of stacks of slices (TIFF files with several pages, "
    "Zarr), for which NAME.labels.tif or .zarr is written.",
    flag_values=_FLAGS,
)
_MAX_GAP = flags.DEFINE_integer(
    "max_gap",
    files.PredictOptions.max_gap,
    "With --link, from how many consecutive frames an object may be missing "
    "and keep its id.",
    flag_values=_FLAGS,
)
_LINK_MIN_IOU = flags.DEFINE_float(
    "link_min_iou",
    files.PredictOptions.link_min_iou,
    "With --link, the least IoU of a segment with the one before.",
    flag_values=_FLAGS,
)
_LINK_MOTION = flags.DEFINE_bool(
    "link_motion",
    files.PredictOptions.link_motion,
    "With --link, whether segments are also looked for where the motion of "
    "their object leads.",
    flag_values=_FLAGS,
)
_CONSENSUS = flags.DEFINE_bool(
    "consensus",
    False,
    "With --link, predict stacks in three directions and keep what two of them "
    "agree upon; for voxels as long in all directions.",
    flag_values=_FLAGS,
)
_CONSENSUS_IOU = flags.DEFINE_float(
    "consensus_iou",
    files.PredictOptions.consensus_iou,
    "With --consensus, the least IoU of objects of two directions that are "
    "joined.",
    flag_values=_FLAGS,
)
_VALUE_RANGE = flags.DEFINE_list(
    "value_range",
    None,
    "Of stacks and with --tile, two values that become 0 and 255, for example "
    "100,4095; by default 8 bits remain, and others are taken from their least "
    "to their largest value.",
    flag_values=_FLAGS,
)

_TILE = flags.DEFINE_integer(
    "tile",
    None,
    "Predict images of any size, larger than memory too, as one, in tiles of "
    "this side, such as 1025: TIFF, Zarr, GeoTIFF and others, but no stacks of "
    "slices. Written is what --large_outputs says.",
    flag_values=_FLAGS,
)
_OVERLAP = flags.DEFINE_string(
    "overlap",
    files.PredictOptions.overlap,
    "With --tile, how many pixels neighboring tiles share at least; auto "
    "measures on each image how many it takes.",
    flag_values=_FLAGS,
)
_LARGE_OUTPUTS = flags.DEFINE_list(
    "large_outputs",
    list(files.PredictOptions.large_outputs),
    "With --tile, what is written, some of labels (ids of 32 bits as TIFF or "
    "Zarr), table (JSON), parquet, geojson, coco (outlines), overlay (a "
    "pyramid).",
    flag_values=_FLAGS,
)
_CHANNELS = flags.DEFINE_list(
    "channels",
    None,
    "With --tile, the channels that are red, green and blue, for example "
    "4,3,2, or one for gray; by default what the file says, else the first.",
    flag_values=_FLAGS,
)


_PART = flags.DEFINE_string(
    "part",
    None,
    "With --tile, K/N: only run the network, on the K-th of N parts of the "
    "tiles. For N programs at once, on one machine or on several that reach "
    "--out; then the same command without it writes the results.",
    flag_values=_FLAGS,
)


def _read_range() -> tuple[float, float] | None:
    if not _VALUE_RANGE.value:
        return None
    try:
        low, high = (float(text) for text in _VALUE_RANGE.value)
    except ValueError:
        raise errors.ConfigError(
            f"--value_range={','.join(_VALUE_RANGE.value)} must be two "
            "numbers, for example --value_range=100,4095."
        ) from None
    return low, high


def _read_channels() -> tuple[int, ...] | None:
    if not _CHANNELS.value:
        return None
    try:
        return tuple(int(text) for text in _CHANNELS.value)
    except ValueError:
        raise errors.ConfigError(
            f"--channels={','.join(_CHANNELS.value)} must be numbers, for "
            "example --channels=4,3,2."
        ) from None


def _read_options() -> files.PredictOptions:
    """Returns the options of the results."""
    return files.PredictOptions(
        raw_panoptic_format=_RAW_PANOPTIC_FORMAT.value,
        convert_raw_to_eval_ids=_CONVERT_RAW_TO_EVAL_IDS.value,
        exif=_EXIF.value,
        frame_step=_FRAME_STEP.value,
        start_seconds=_START_SECONDS.value,
        end_seconds=_END_SECONDS.value,
        frame_results=_FRAME_RESULTS.value,
        link=_LINK.value,
        max_gap=_MAX_GAP.value,
        link_min_iou=_LINK_MIN_IOU.value,
        link_motion=_LINK_MOTION.value,
        consensus=_CONSENSUS.value,
        consensus_iou=_CONSENSUS_IOU.value,
        value_range=_read_range(),
        tile=_TILE.value,
        overlap=_OVERLAP.value,
        large_outputs=tuple(_LARGE_OUTPUTS.value),
        channels=_read_channels(),
    )


def _main(arguments: Sequence[str]) -> None:
    model = program.require(
        _MODEL, "what deeplab2-export or deeplab2-train wrote", "saved"
    )
    out = program.require(_OUT, "the folder of the results", "predictions")
    inputs = list(arguments)
    for path in _LIST.value:
        inputs += inputs_lib.load_list(path)
    if not inputs:
        raise errors.ConfigError(
            "No image is given. Name images or folders, for example "
            f"deeplab2-predict --model={shlex.quote(model)} photo.jpg "
            f"--out={shlex.quote(out)}."
        )
    report = progress.Progress()
    if _PART.value is not None:
        _predict_part(model, inputs, out, report)
        return
    image_ids = None
    if _IMAGE_JSON.value:
        image_ids = files.load_image_ids(_IMAGE_JSON.value)
    done = files.predict_files(
        model,
        inputs,
        out,
        image_ids=image_ids,
        options=_read_options(),
        overwrite=_OVERWRITE.value,
        report=report,
    )
    _describe(done, model, out, report)
    if done.problems:
        for problem in done.problems[:_MAX_NAMED]:
            report.log(f"Left out: {problem}")
        total = f" of {done.num_images + len(done.problems)}"
        if done.videos or done.large:
            total = ""  # Their frames and parts are not counted as images.
        parts = " or parts of them" if done.large else ""
        raise errors.DataError(
            f"{len(done.problems)}{total} images{parts} could not be read and "
            f"were left out; {out}/{files.FAILURES_FILE} lists them."
        )


def _predict_part(
    model: str, inputs: Sequence[str], out: str, report: progress.Progress
) -> None:
    """Predicts a part of the tiles."""
    part = parts.Part.parse(_PART.value)
    if _OVERWRITE.value or _IMAGE_JSON.value:
        raise errors.ConfigError(
            "--part writes no results, so that --overwrite and --image_json "
            "have no use. Give them to the command that writes the results."
        )
    problems = files.predict_part(
        model, inputs, out, part, _read_options(), report=report
    )
    report.log(
        f"Part {part.number} of {part.count} is done. When all are, give the "
        "command without --part."
    )
    if problems:
        raise errors.DataError(
            f"{len(problems)} image(s) could not be read: {problems[0]}"
        )


def _describe(
    done: files.PredictedFiles,
    model: str,
    out: str,
    report: progress.Progress,
) -> None:
    """Says what was written."""
    kept = f" ({done.num_kept} of them earlier)" if done.num_kept else ""
    speed = ""
    if done.milliseconds:
        speed = f", {done.milliseconds:.0f} ms per image"
    if done.num_images:
        report.log(
            f"{done.num_images} image(s) predicted by {model}{kept}{speed}"
        )
        report.log(f"Pictures      {out}/*{files.OVERLAY_ENDING}")
        report.log(
            f"COCO-panoptic {done.json_path} and *{files.PANOPTIC_ENDING}"
        )
    for video in done.videos:
        report.log(f"Video         {out}/{video}")
    for volume in done.volumes:
        report.log(f"Label volume  {out}/{volume}")
    for large in done.large:
        report.log(f"Image in tiles {out}/{large}")
    for tracks in done.tracks:
        report.log(f"Tracks        {out}/{tracks}")
    if _RAW_PANOPTIC_FORMAT.value:
        report.log(f"Label maps    {out}/raw_semantic, raw_panoptic")


def cli() -> None:
    """Predicts files and folders (console command deeplab2-predict)."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
