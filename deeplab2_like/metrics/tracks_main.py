# SPDX-License-Identifier: Apache-2.0
r"""Scores the tracks of videos and volumes against a ground truth.

    deeplab2-evaluate-tracks --gt_json=true.json --pred_json=out/panoptic.json \
        --pred_folder=out

for panoptic PNGs in COCO's format, whose ids are those of tracks, as
deeplab2-predict --link writes them; frames of a sequence are in one folder. For
label maps as KITTI-STEP has them:

    deeplab2-evaluate-tracks --gt_folder=panoptic_maps/val \
        --pred_folder=out/raw_panoptic --dataset=kitti_step

For label volumes, TIFF or Zarr, as deeplab2-predict --link writes them:

    deeplab2-evaluate-tracks --gt_volume=true.tif --pred_volume=cells.labels.tif

whose classes are those of --gt_json and --pred_json, files NAME.tracks.json;
without these all labels are objects of one class.

Printed are STQ with AQ and SQ, VPQ of windows of frames, and the PQ of whole
sequences as volumes; with --output_json they are written.
"""

import dataclasses
import math
import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from deeplab2_like import errors
from deeplab2_like.console import path_flags, program, progress
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.metrics import (
    overlaps,
    track_frames,
    tracking_quality,
    video_panoptic_quality,
    volume_frames,
)
from deeplab2_like.metrics.video_panoptic_quality import WHOLE
from deeplab2_like.results import raw_predictions
from deeplab2_like.storage import json_files

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_GT_JSON = path_flags.define(
    "gt_json",
    None,
    "COCO-panoptic JSON file of the ground truth; unset: label maps.",
    flag_values=_FLAGS,
)
_GT_FOLDER = path_flags.define(
    "gt_folder",
    None,
    "Folder of the true PNGs. Default: the path of --gt_json without .json.",
    flag_values=_FLAGS,
)
_PRED_JSON = path_flags.define(
    "pred_json",
    None,
    "COCO-panoptic JSON file of the predictions.",
    flag_values=_FLAGS,
)
_PRED_FOLDER = path_flags.define(
    "pred_folder",
    None,
    "Folder of the predicted PNGs. Default: the path of --pred_json without "
    ".json.",
    flag_values=_FLAGS,
)
_GT_VOLUME = path_flags.define(
    "gt_volume",
    None,
    "True label volume, a TIFF file or Zarr folder.",
    flag_values=_FLAGS,
)
_PRED_VOLUME = path_flags.define(
    "pred_volume",
    None,
    "Predicted label volume.",
    flag_values=_FLAGS,
)
_DATASET = path_flags.define(
    "dataset",
    None,
    "Data set of label maps: the name of a shipped one (kitti_step), or its "
    ".textproto file.",
    flag_values=_FLAGS,
)
_FORM = flags.DEFINE_enum(
    "form",
    raw_predictions.THREE_CHANNEL_PNG,
    list(raw_predictions.MAX_INSTANCE),
    "Form of the label maps.",
    flag_values=_FLAGS,
)
_WINDOWS = flags.DEFINE_list(
    "windows",
    [str(window) for window in video_panoptic_quality.WINDOWS],
    "Numbers of frames of the windows of VPQ.",
    flag_values=_FLAGS,
)
_OUTPUT_JSON = path_flags.define(
    "output_json",
    None,
    "Where to write the numbers as JSON; nowhere if unset.",
    flag_values=_FLAGS,
)


def _open_frames() -> track_frames.TrackFrames:
    if _GT_VOLUME.value:
        return volume_frames.VolumeFrames(
            _GT_VOLUME.value,
            program.require(
                _PRED_VOLUME, "the prediction", "out/cells.labels.tif"
            ),
            true_json=_GT_JSON.value,
            predicted_json=_PRED_JSON.value,
        )
    if _GT_JSON.value:
        return track_frames.CocoFrames(
            _GT_JSON.value,
            program.require(_PRED_JSON, "the predictions", "out/panoptic.json"),
            true_folder=_GT_FOLDER.value,
            predicted_folder=_PRED_FOLDER.value,
        )
    if not _GT_FOLDER.value:
        raise errors.ConfigError(
            "No ground truth is given. Give --gt_json=true.json, or "
            "--gt_folder=panoptic_maps/val with --dataset=kitti_step, or "
            "--gt_volume=true.tif."
        )
    return track_frames.LabelFrames(
        _GT_FOLDER.value,
        program.require(_PRED_FOLDER, "the predictions", "out/raw_panoptic"),
        descriptor_lib.load(
            program.require(_DATASET, "the data set", "kitti_step")
        ),
        form=_FORM.value,
    )


def _read_windows() -> list[int]:
    try:
        windows = [int(text) for text in _WINDOWS.value]
    except ValueError:
        windows = []
    if not windows or min(windows) < 1 or len({*windows}) < len(windows):
        raise errors.ConfigError(
            f"--windows={','.join(_WINDOWS.value)} must be different numbers "
            "of frames, 1 or more, for example --windows=1,2,3,4."
        )
    return windows


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    windows = _read_windows()
    frames = _open_frames()
    tracking = tracking_quality.TrackingQuality(frames.descriptor)
    video = video_panoptic_quality.VideoPanopticQuality(
        frames.descriptor, [*windows, WHOLE]
    )
    with progress.Progress().phase(
        "Scoring", frames.num_frames, unit="frames"
    ) as phase:
        for frame in track_frames.follow(frames, phase.advance):
            found = overlaps.compute_overlaps(frame.true, frame.predicted)
            tracking.add(found, frame.sequence, frame.name)
            video.add(found, frame.sequence, frame.name)
    tracks, tubes = tracking.result(), video.result()
    print(_make_table(tracks, tubes))
    for warning in tracks.warnings:
        print(f"Warning: {warning}", file=sys.stderr)
    if _OUTPUT_JSON.value:
        path = pathlib.Path(_OUTPUT_JSON.value)
        content = {
            **tracks.scalars(),
            **tubes.scalars(),
            "tracking": dataclasses.asdict(tracks),
            "windows": {
                "volume" if window == WHOLE else str(window): result
                for window, result in dataclasses.asdict(tubes)[
                    "per_window"
                ].items()
            },
        }
        json_files.write_json(path, content)
        print(f"\nwritten: {path}")


def _make_table(
    tracks: tracking_quality.TrackingQualityResult,
    tubes: video_panoptic_quality.VideoQualityResult,
) -> str:
    """Returns the numbers as text, in percent."""
    width = max([14, *map(len, tracks.per_sequence)])
    lines = [
        f"{tracks.all.num_frames} frames, {tracks.all.num_tracks} true tracks; "
        "values in percent",
        "",
        f"{'':{width}}    STQ     AQ     SQ   tracks  frames",
    ]
    rows = {"all": tracks.all}
    if len(tracks.per_sequence) > 1:
        rows |= {name or ".": q for name, q in tracks.per_sequence.items()}
    for name, quality in rows.items():
        values = (quality.stq, quality.aq, quality.sq)
        percents = "".join(map(_format, values))
        lines.append(
            f"{name:{width}}{percents}{quality.num_tracks:9d}"
            f"{quality.num_frames:8d}"
        )
    lines += ["", f"{'':{width}}     PQ     SQ     RQ   things  stuff"]
    for window, result in tubes.per_window.items():
        name = "volume" if window == WHOLE else f"VPQ, {window} frames"
        numbers = (
            result.all.pq,
            result.all.sq,
            result.all.rq,
            result.things.pq,
            result.stuff.pq,
        )
        percents = "".join(map(_format, numbers))
        lines.append(f"{name:{width}}{percents}")
    lines.append(f"{'VPQ':{width}}{_format(tubes.vpq)}")
    return "\n".join(lines)


def _format(value: float) -> str:
    return f"{'-' if math.isnan(value) else format(100 * value, '.2f'):>7}"


def cli() -> None:
    """Scores tracks (console command deeplab2-evaluate-tracks)."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
