# SPDX-License-Identifier: Apache-2.0
"""Predicts files of all kinds, as the command deeplab2-predict does.

`predict_files` predicts image files, folders, patterns, TFRecords and videos
into a folder, and goes on where an earlier call was killed.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from deeplab2_like import errors
from deeplab2_like.console import progress
from deeplab2_like.labels import coco_json
from deeplab2_like.labels import image_ids as image_ids_lib
from deeplab2_like.large_images import outputs as large_outputs
from deeplab2_like.large_images import parts as parts_lib
from deeplab2_like.predict import inputs as inputs_lib
from deeplab2_like.predict import journal as journal_lib
from deeplab2_like.predict import models, running
from deeplab2_like.predict.options import PredictOptions
from deeplab2_like.predict.result_folder import (
    FAILURES_FILE,
    JSON_FILE,
    OVERLAY_ENDING,
    PANOPTIC_ENDING,
    ResultFolder,
)
from deeplab2_like.results import raw_predictions
from deeplab2_like.storage import image_files, user_paths
from deeplab2_like.tracking import assignment

__all__ = [
    "FAILURES_FILE",
    "JSON_FILE",
    "OVERLAY_ENDING",
    "PANOPTIC_ENDING",
    "PredictOptions",
    "PredictedFiles",
    "load_image_ids",
    "predict_files",
    "predict_part",
]


_NO_RECORD = "There is no record in the TFRecord files. Write them again."


@dataclasses.dataclass(frozen=True)
class PredictedFiles:
    """The result of `predict_files`.

    Attributes:
        num_images: Number of images in the results.
        num_kept: How many of them an earlier call had predicted.
        videos: Videos with the pictures of segments, below the folder.
        tracks: Files of the tracks of linked videos and folders, below the
            folder.
        volumes: Label volumes of linked stacks, below the folder.
        large: Files of images in tiles, below the folder.
        problems: A sentence for each image that was left out.
        json_path: Path of the COCO-panoptic file.
        milliseconds: Median of the model's time for an image; 0 where it was
            not needed.
    """

    num_images: int
    num_kept: int
    videos: list[str]
    tracks: list[str]
    volumes: list[str]
    large: list[str]
    problems: list[str]
    json_path: pathlib.Path
    milliseconds: float


def predict_files(
    model: str | os.PathLike[str],
    inputs: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    image_ids: Mapping[str, int | str] | None = None,
    options: PredictOptions | None = None,
    overwrite: bool = False,
    report: progress.Progress | None = None,
) -> PredictedFiles:
    """Predicts files and folders, and writes pictures and a JSON file.

    For an image `a/b.jpg` below a given folder: `out/a/b.panoptic.png`, its
    segments in COCO's panoptic format, and `out/a/b.overlay.png`, the image
    with its segments and a legend. `out/panoptic.json` lists the segments of
    all images of the call. For a video `c.mp4`: `out/c.overlay.mp4`. What is
    written with `options.link` is listed in docs/stacks_and_videos.md. What
    cannot be read is left out and listed in `out/failures.json`.

    `out/progress.jsonl` notes each image that is written whole. Those are not
    predicted again by another call, of the same model and options, while the
    image file has the same path, size and time of change.

    Args:
        model: Folder that deeplab2-export wrote; or the folder of a training
            run, whose newest checkpoint is taken, or a checkpoint in it.
        inputs: See `inputs.find_inputs`.
        out: Folder of the results; created if it does not exist.
        image_ids: Ids of the images for the JSON file, by path below their
            folder; see `load_image_ids`. Where only one has the name of a file,
            folders may differ. When None, the path without extension, as a
            number where all are numbers.
        options: Options of the results; the defaults when None.
        overwrite: Whether all is predicted again, and files of the same names
            in `out` are replaced, whoever wrote them.
        report: Display of the progress; on standard error when None.

    Raises:
        ExportError: The exported model cannot be used.
        CheckpointError: The model folder cannot be used.
        ConfigError: The classes do not fit into `raw_panoptic_format`.
        InstallError: A package is not installed: PyAV for videos, SciPy for
            `options.link`.
        DataError: An input does not exist, a folder contains no image,
            `image_ids` lacks an image or leaves open which one it is, no image
            can be read, or `out` holds what must not be replaced: results of
            another model or other options, or files that this function did not
            write. Nothing is written then.
    """
    report = report or progress.Progress()
    options = options or PredictOptions()
    model = user_paths.expand_checkpoint(model, "model=")
    out = user_paths.expand(out, "out=")
    is_tiled = options.tile is not None
    found = inputs_lib.find_inputs(
        inputs, options.link, with_large=is_tiled, warn=report.log
    )
    if is_tiled:
        _check_tiled(found, image_ids, options)
    ids = _choose_ids(found.images, image_ids)
    _require_packages(found, options)
    _check_output(out, found, image_ids, options)
    facts = models.load_facts(model)
    if not (found.records or found.videos or found.stacks or is_tiled):
        image_files.require_readable(found.images, facts.max_pixels)
    results = _open_results(out, facts, options, overwrite)
    run = running.Run(facts, results, options, report, found)
    try:
        run.add_all(ids, image_ids)
    finally:
        # Also after an interrupt, so that the images until then are listed.
        results.close()
    return _summarize(results, run)


def predict_part(
    model: str | os.PathLike[str],
    inputs: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    part: parts_lib.Part,
    options: PredictOptions,
    *,
    report: progress.Progress | None = None,
) -> list[str]:
    """Predicts a part of the tiles of each image, for several programs at once.

    When all parts are done, `predict_files` with the same arguments takes the
    tiles from `out`, predicts those that are missing, and writes the results.

    Args:
        model: See `predict_files`, also for errors.
        inputs: The images, the same for all parts.
        out: Folder of the results, which all programs reach.
        part: The part.
        options: Options of the results, with `tile`.
        report: Display of the progress; on standard error when None.

    Returns:
        A sentence for each image that was left out.
    """
    report = report or progress.Progress()
    model = user_paths.expand_checkpoint(model, "model=")
    out = user_paths.expand(out, "out=")
    if options.tile is None:
        raise errors.ConfigError(
            f"--part={part.number}/{part.count} is a part of the tiles of each "
            "image. Give --tile too, such as --tile=1025."
        )
    found = inputs_lib.find_inputs(inputs, with_large=True, warn=report.log)
    _check_tiled(found, None, options)
    _check_output(out, found, None, options)
    facts = models.load_facts(model)
    results = _open_results(out, facts, options, overwrite=False)
    run = running.Run(facts, results, options, report, found)
    run.add_part(part)
    return [failure.problem for failure in results.failures]


def _summarize(results: ResultFolder, run: running.Run) -> PredictedFiles:
    """Returns what was written; refuses nothing at all."""
    problems = [failure.problem for failure in results.failures]
    written = (results.videos, results.volumes, results.large)
    if not (results.num_listed or any(written)):
        raise errors.DataError((*problems, _NO_RECORD)[0])
    return PredictedFiles(
        results.num_listed,
        results.num_listed - results.num_written,
        results.videos,
        results.tracks,
        results.volumes,
        results.large,
        problems,
        results.json_path,
        1000 * float(np.median(run.seconds)) if run.seconds else 0.0,
    )


def _require_packages(
    found: inputs_lib.Inputs, options: PredictOptions
) -> None:
    if options.link:
        assignment.require_solver()
    if found.videos:
        running.require_video_reader()


def _check_tiled(
    found: inputs_lib.Inputs,
    image_ids: Mapping[str, int | str] | None,
    options: PredictOptions,
) -> None:
    """Checks that all inputs can be predicted in tiles."""
    others = [*found.records, *(str(file.path) for file in found.videos)]
    if others:
        raise errors.DataError(
            f"{others[0]} is predicted image by image, not in tiles. Leave out "
            "--tile, or give image files."
        )
    if image_ids is not None:
        raise errors.ConfigError(
            "Images in tiles are not listed in panoptic.json, so that "
            "--image_json has no use. Leave it out."
        )
    for file in found.images:
        large_outputs.require_packages(options.large_outputs, file.path)


def _check_output(
    out: str,
    found: inputs_lib.Inputs,
    image_ids: Mapping[str, int | str] | None,
    options: PredictOptions,
) -> None:
    if os.path.exists(out) and not os.path.isdir(out):
        raise errors.DataError(f"--out={out} is a file. Give a folder.")
    if not found.videos:
        return
    if image_ids is not None and (options.frame_results or options.link):
        raise errors.ConfigError(
            "Frames of videos have no ids in --image_json. Predict them "
            "without one."
        )


def _open_results(
    out: str, facts: models.Facts, options: PredictOptions, overwrite: bool
) -> ResultFolder:
    """Reads what the folder of results holds; see `predict_files`."""
    raw_writer = None
    if options.raw_panoptic_format is not None:
        raw_writer = raw_predictions.RawPredictionWriter(
            out,
            facts.descriptor,
            panoptic_format=options.raw_panoptic_format,
            convert_ids=options.convert_raw_to_eval_ids,
        )
    journal = journal_lib.Journal(
        out,
        models.identify(facts),
        options.as_header(),
        derived=(JSON_FILE, FAILURES_FILE),
        overwrite=overwrite,
    )
    return ResultFolder(journal, facts.descriptor, raw_writer)


def _choose_ids(
    files: Sequence[image_files.ImageFile],
    known: Mapping[str, int | str] | None,
) -> list[int | str | None]:
    """Returns the id of each image; None where its name decides."""
    if known is None:
        return [None] * len(files)
    index = image_ids_lib.NameIndex(known)
    found: dict[int | str, image_files.ImageFile] = {}
    for file in files:
        image_id = index.find(file.path, file.relative_path)
        if image_id is None:
            raise errors.DataError(
                f"The image {file.path} is not among the {len(known)} images "
                "whose ids are given. Give the images of that data set only."
            )
        other = found.setdefault(image_id, file)
        if other is not file:
            raise errors.DataError(
                f"The images {other.path} and {file.path} would both get the "
                f"id {image_id!r}, whose image has their file name. Give the "
                "images of that data set only, each once."
            )
    return list(found)


def load_image_ids(path: str | os.PathLike[str]) -> dict[str, int | str]:
    """Loads the ids of a data set's images, by file name.

    Args:
        path: Path of a JSON file in one of COCO's formats.

    Returns:
        Id of each image by its path below the folder of the images.

    Raises:
        DataError: The file cannot be read, has no list of images, or has an
            image without id or file name.
    """
    images = coco_json.load(path, ["images"]).images
    return {
        image_ids_lib.name_photo(image.file_name): image.id
        for image in images.values()
    }
