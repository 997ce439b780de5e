# SPDX-License-Identifier: Apache-2.0
"""Predicts image files and folders, as the command deeplab2-predict does."""

import dataclasses
import os
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from deeplab2_like import config as config_lib
from deeplab2_like import errors
from deeplab2_like.checkpoints import presence
from deeplab2_like.config import run_config
from deeplab2_like.console import native_logs, progress
from deeplab2_like.exports import exported_model
from deeplab2_like.labels import coco_json
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.labels import image_ids as image_ids_lib
from deeplab2_like.predict import predictor as predictor_lib
from deeplab2_like.predict.images import ImagePredictor
from deeplab2_like.results import coco_writer, raw_predictions
from deeplab2_like.storage import image_files, user_paths
from deeplab2_like.visualize import visualizer

JSON_FILE = "panoptic.json"
PANOPTIC_ENDING, OVERLAY_ENDING = image_files.OUTPUT_ENDINGS


@dataclasses.dataclass(frozen=True)
class PredictedFiles:
    """The result of `predict_files`.

    Attributes:
        num_images: Number of images that were predicted.
        problems: A sentence for each image that was left out.
        json_path: Path of the COCO-panoptic file.
        milliseconds: Median of the model's time for an image.
    """

    num_images: int
    problems: list[str]
    json_path: pathlib.Path
    milliseconds: float


def predict_files(
    model: str | os.PathLike[str],
    inputs: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    image_ids: Mapping[str, int | str] | None = None,
    raw_panoptic_format: str | None = None,
    convert_raw_to_eval_ids: bool = True,
    exif: str = "apply",
    report: progress.Progress | None = None,
) -> PredictedFiles:
    """Predicts files and folders, and writes pictures and a JSON file.

    For an image `a/b.jpg` below a given folder: `out/a/b.panoptic.png`, its
    segments in COCO's panoptic format, and `out/a/b.overlay.png`, the image
    with its segments and a legend. `out/panoptic.json` lists the segments of
    all images of the call. An image that cannot be read is left out. Files of
    the same name are replaced.

    Args:
        model: Folder that deeplab2-export wrote; or the folder of a training
            run, whose newest checkpoint is taken, or a checkpoint in it.
        inputs: Image files and folders.
        out: Folder of the results; created if it does not exist.
        image_ids: Ids of the images for the JSON file, by path below the
            folder of the images; see `load_image_ids`. Where only one of these
            images has the name of a file, folders may differ. When None, the
            path without extension, as a number where all are numbers.
        raw_panoptic_format: Format of label maps that are also written, to
            `out/raw_semantic` and `out/raw_panoptic`, a key of
            `raw_predictions.MAX_INSTANCE`; none when None.
        convert_raw_to_eval_ids: Whether the label maps have the data set's own
            category ids.
        exif: "apply" turns images upright as their EXIF orientation says,
            "ignore" takes the pixels as stored, for data sets whose labels
            were drawn so.
        report: Display of the progress; on standard error when None.

    Raises:
        ExportError: The exported model cannot be used.
        CheckpointError: The model folder cannot be used.
        ConfigError: The classes do not fit into `raw_panoptic_format`.
        DataError: An input does not exist, a folder contains no image,
            `image_ids` lacks an image or leaves open which one it is, or no
            image can be read. Nothing is written then.
    """
    report = report or progress.Progress()
    model = user_paths.expand_checkpoint(model, "model=")
    out = user_paths.expand(out, "out=")
    files = image_files.find_images(
        [user_paths.expand(path, "The image ") for path in inputs],
        warn=report.log,
    )
    ids = _choose_ids(files, image_ids)
    if os.path.exists(out) and not os.path.isdir(out):
        raise errors.DataError(f"--out={out} is a file. Give a folder.")
    facts = _load_facts(model)
    raw_writer = None
    if raw_panoptic_format is not None:
        raw_writer = raw_predictions.RawPredictionWriter(
            out,
            facts.descriptor,
            panoptic_format=raw_panoptic_format,
            convert_ids=convert_raw_to_eval_ids,
        )
    image_files.require_readable(files, facts.max_pixels)
    predictor = _load(facts, report)
    with _Results(pathlib.Path(out), predictor, raw_writer) as results:
        results.add_files(
            dict(zip(ids, files, strict=True)), report, upright=exif == "apply"
        )
    if not results.seconds:
        raise errors.DataError(results.problems[0])
    return PredictedFiles(
        len(results.seconds),
        results.problems,
        results.json_path,
        1000 * float(np.median(results.seconds)),
    )


@dataclasses.dataclass(frozen=True)
class _Facts:
    """What is known of a model before it is loaded.

    Attributes:
        path: Its folder.
        descriptor: The data set.
        max_pixels: Most pixels of an image.
        config: The config of a run; None for an exported model.
    """

    path: str
    descriptor: descriptor_lib.DatasetDescriptor
    max_pixels: int
    config: config_lib.Config | None = None


def _load_facts(model: str) -> _Facts:
    """Loads what `_Facts` contains, without TensorFlow."""
    run = _find_run(model)
    if run is None:
        info = exported_model.load_info(model)
        descriptor = exported_model.load_descriptor(model)
        return _Facts(model, descriptor, info.max_pixels)
    presence.require(model, "--model=")
    config = run_config.load_checked(run)
    return _Facts(
        model,
        descriptor_lib.load_of_run(config.options),
        config.options.evaluator_options.max_pixels or sys.maxsize,
        config,
    )


def _find_run(model: str) -> str | None:
    """Returns the folder of the run that a path is, or lies in; else None."""
    if os.path.exists(os.path.join(model, exported_model.SAVED_MODEL_FILE)):
        return None
    for folder in (model, os.path.dirname(model)):
        if os.path.isfile(os.path.join(folder, run_config.CONFIG_FILE)):
            return folder
    return None


def _load(facts: _Facts, report: progress.Progress) -> ImagePredictor:
    """Loads a model, for which TensorFlow is imported."""
    report.log(f"Loading {facts.path} ...")
    native_logs.load_tensorflow()
    with native_logs.hide_routine():
        if facts.config is not None:
            from deeplab2_like.predict import panoptic_model

            return panoptic_model.load_model(
                facts.path, config=facts.config, max_pixels=facts.max_pixels
            )
        predictor = predictor_lib.Predictor.from_saved_model(facts.path)
        predictor.warm_up()
    return predictor


def _choose_ids(
    files: Sequence[image_files.ImageFile],
    known: Mapping[str, int | str] | None,
) -> list[int | str]:
    """Returns the id of each image; see `predict_files`."""
    if known is not None:
        return _look_up(files, known)
    names = [file.name for file in files]
    is_numbered = all(name.isascii() and name.isdigit() for name in names)
    if is_numbered and len({int(name) for name in names}) == len(names):
        return [int(name) for name in names]
    return list(names)


def _look_up(
    files: Sequence[image_files.ImageFile], known: Mapping[str, int | str]
) -> list[int | str]:
    """Returns the ids of files in a data set, all different."""
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


class _Results:
    """The folder of results, which is not changed before the first result.

    Attributes:
        seconds: Time of the model for each image so far.
        problems: A sentence for each image that was left out.
        json_path: Path of the COCO-panoptic file.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        predictor: ImagePredictor,
        raw_writer: raw_predictions.RawPredictionWriter | None,
    ):
        """Stores what all images share; writes nothing.

        Args:
            folder: Folder of the results.
            predictor: The model.
            raw_writer: Writer of the label maps; None for none.
        """
        self._folder = folder
        self._predictor = predictor
        self._raw_writer = raw_writer
        self._writer: coco_writer.CocoPanopticWriter | None = None
        self.seconds: list[float] = []
        self.problems: list[str] = []
        self.json_path = folder / JSON_FILE

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        # Also after an interrupt, so that the images until then are listed.
        if self._writer is not None:
            self._writer.close()

    def add_files(
        self,
        files: Mapping[int | str, image_files.ImageFile],
        report: progress.Progress,
        *,
        upright: bool,
    ) -> None:
        """Predicts image files, by their ids, and writes the results."""
        with report.phase("Predicting", len(files), unit="images") as phase:
            for number, (image_id, file) in enumerate(files.items(), 1):
                try:
                    pixels = self._predictor.load_image(
                        file.path, upright=upright, warn=report.log
                    )
                    self.add(file, image_id, pixels)
                except errors.DataError as error:
                    self.problems.append(str(error))
                    if len(files) > 1:
                        report.log(f"Left out: {error}")
                phase.advance(number)

    def add(
        self,
        file: image_files.ImageFile,
        image_id: int | str,
        pixels: npt.NDArray[np.uint8],
    ) -> None:
        """Predicts the pixels of an image file and writes the result."""
        start = time.monotonic()
        maps = self._predictor.predict_maps(pixels)
        found = self._predictor.to_result(maps)
        seconds = time.monotonic() - start
        descriptor = self._predictor.descriptor
        if self._raw_writer is not None:
            self._raw_writer.write(
                file.name, maps["semantic"], maps.get("panoptic")
            )
        if self._writer is None:
            self._writer = coco_writer.CocoPanopticWriter(
                self._folder, descriptor, json_path=self.json_path
            )
        self._writer.add(
            found,
            file.relative_path,
            image_id,
            png_name=file.name + PANOPTIC_ENDING,
        )
        picture = visualizer.visualize(pixels, found, descriptor)
        overlay = self._folder / (file.name + OVERLAY_ENDING)
        Image.fromarray(picture).save(overlay, compress_level=3)
        self.seconds.append(seconds)
