# SPDX-License-Identifier: Apache-2.0
"""Predicts what `inputs` found, and writes it by `result_folder`."""

import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.console import native_logs, progress
from deeplab2_like.labels import image_ids as image_ids_lib
from deeplab2_like.large_images import parts as parts_lib
from deeplab2_like.predict import inputs as inputs_lib
from deeplab2_like.predict import journal as journal_lib
from deeplab2_like.predict import models, result_folder
from deeplab2_like.predict.images import ImagePredictor
from deeplab2_like.predict.options import PredictOptions
from deeplab2_like.predict.result_folder import Failure, Item, ResultFolder
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.storage import image_files


def require_video_reader() -> None:
    """Checks that videos can be read.

    Raises:
        InstallError: PyAV is not installed.
    """
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise errors.InstallError(
            f"Videos need the package {error.name}. Install it with: pip "
            "install 'deeplab2-like[video]'"
        ) from error


class Run:
    """One call of `predict_files`.

    Attributes:
        results: Folder of the results.
        options: Options of the results.
        report: Display of the progress.
        max_pixels: Most pixels of an image.
        descriptor: The data set of the model.
        seconds: Time of the model for each image that it predicted.
    """

    def __init__(
        self,
        facts: models.Facts,
        results: ResultFolder,
        options: PredictOptions,
        report: progress.Progress,
        found: inputs_lib.Inputs,
    ):
        """Stores what all inputs share; loads nothing.

        Args:
            facts: The model.
            results: Folder of the results.
            options: Options of the results.
            report: Display of the progress.
            found: All inputs of the call.
        """
        self._facts = facts
        self.max_pixels = facts.max_pixels
        self.descriptor = facts.descriptor
        self.results = results
        self.options = options
        self.report = report
        self._model: ImagePredictor | None = None
        self._found = found
        files = (*found.images, *found.videos, *found.stacks)
        self._names = [file.name for file in files]
        self._is_single = len(self._names) + len(found.records) == 1
        self.seconds: list[float] = []

    @property
    def model(self) -> ImagePredictor:
        """The model, which is loaded when it is first used."""
        if self._model is None:
            self._model = models.load(self._facts, self.report)
        return self._model

    def add_all(
        self,
        ids: Sequence[int | str | None],
        known: Mapping[str, int | str] | None,
    ) -> None:
        """Predicts all inputs and writes the results.

        Args:
            ids: Id of each image file; None where its name decides.
            known: Ids of records by name; None where names decide.
        """
        if self._found.images and self.options.link:
            from deeplab2_like.predict import image_sequences

            others = (*self._found.videos, *self._found.stacks)
            image_sequences.add_all(
                self._found.images, ids, self, [file.name for file in others]
            )
        elif self._found.images and self.options.tile is not None:
            self._add_large(self._found.images)
        elif self._found.images:
            self._add_images(self._found.images, ids)
        if self._found.records:
            self._add_records(self._found.records, known)
        if self._found.videos:
            self._add_videos(self._found.videos)
        if self._found.stacks:
            self._add_stacks(self._found.stacks)

    def _add_images(
        self,
        files: Sequence[image_files.ImageFile],
        ids: Sequence[int | str | None],
    ) -> None:
        """Predicts image files and writes the results."""
        items = result_folder.to_items(files, self.load_file)
        done = dict.fromkeys(i.name for i in items if self.results.is_done(i))
        if len(done) < len(items):
            _ = self.model
        if done:
            self.report.log(
                f"{len(done)} of {len(items)} images were predicted earlier."
            )
        count = len(done)
        by_name = dict(zip((i.name for i in items), ids, strict=True))
        try:
            with self.report.phase(
                "Predicting", len(items), start=count, unit="images"
            ) as phase:
                for item in items:
                    self._try(item, lambda item: by_name[item.name])
                    count += item.name not in done
                    done.pop(item.name, None)
                    phase.advance(count)
        finally:  # After an interrupt, what is behind it is listed too.
            for name in done:
                self.results.list_image(name, by_name[name])

    def load_file(self, path: pathlib.Path) -> npt.NDArray[np.uint8]:
        """Loads an image file; raises `DataError`."""
        return image_files.load_image(
            path,
            self.max_pixels,
            upright=self.options.exif == "apply",
            warn=self.report.log,
        )

    def _add_records(
        self, paths: Sequence[str], known: Mapping[str, int | str] | None
    ) -> None:
        """Predicts the images of TFRecord files and writes the results."""
        native_logs.load_tensorflow()
        from deeplab2_like.predict import records as records_lib

        records = records_lib.Records(paths)
        for path, problem in records.problems:
            self.leave_out(path, problem)
        find_id = _IdFinder(known)
        items = records.items(self._names, self.max_pixels, self.report.log)
        with self.report.phase(
            "Predicting records", records.num_records, unit="images"
        ) as phase:
            for number, item in enumerate(items, 1):
                self._try(item, find_id)
                phase.advance(number)

    def _try(
        self, item: Item, find_id: Callable[[Item], int | str | None]
    ) -> None:
        """Predicts an image unless it is done; lists it or its failure."""
        try:
            image_id = find_id(item)
            if not self.results.is_done(item):
                self.predict(item, item.load())
            self.results.list_image(item.name, image_id)
        except errors.DataError as error:
            self.leave_out(_name_source(item.source), str(error))

    def predict(
        self, item: Item, pixels_hw3: npt.NDArray[np.uint8]
    ) -> PanopticResult:
        """Predicts an image and writes its results; returns the segments."""
        maps, found = self.infer(pixels_hw3)
        self.results.write(item, pixels_hw3, maps, found)
        return found

    def infer(
        self, pixels_hw3: npt.NDArray[np.uint8]
    ) -> tuple[dict[str, npt.NDArray[Any]], PanopticResult]:
        """Predicts an image; returns its maps and segments."""
        start = time.monotonic()
        maps = self.model.predict_maps(pixels_hw3)
        found = self.model.to_result(maps)
        self.seconds.append(time.monotonic() - start)
        return maps, found

    def _add_videos(self, files: Sequence[image_files.ImageFile]) -> None:
        """Predicts videos and writes the results."""
        from deeplab2_like.predict import videos

        for file in files:
            try:
                videos.predict_video(file, self)
            except errors.DataError as error:
                self.leave_out(os.path.abspath(file.path), str(error))

    def _add_stacks(self, files: Sequence[image_files.ImageFile]) -> None:
        """Predicts stacks of slices and writes the results."""
        from deeplab2_like.predict import stacks

        for file in files:
            try:
                stacks.predict_stack(file, self)
            except errors.DataError as error:
                self.leave_out(os.path.abspath(file.path), str(error))

    def _add_large(self, files: Sequence[image_files.ImageFile]) -> None:
        """Predicts images in tiles and writes the results."""
        from deeplab2_like.predict import tiled

        for file in files:
            try:
                tiled.predict_image(file, self)
            except errors.DataError as error:
                self.leave_out(os.path.abspath(file.path), str(error))

    def add_part(self, part: parts_lib.Part) -> None:
        """Predicts a part of the tiles of all images, and writes no results."""
        from deeplab2_like.predict import tiled

        for file in self._found.images:
            try:
                tiled.predict_part(file, self, part)
            except errors.DataError as error:
                self.leave_out(os.path.abspath(file.path), str(error))

    def leave_out(self, source: str, problem: str) -> None:
        """Notes that something was left out, and why."""
        self.results.failures.append(Failure(source, problem))
        if not self._is_single:
            self.report.log(f"Left out: {problem}")


def _name_source(source: journal_lib.Source) -> str:
    """Names an image in the list of failures."""
    part = "" if source.part is None else f"#{source.part}"
    return f"{source.path}{part}"


class _IdFinder:
    """Finds the ids of records among given ones, each once."""

    def __init__(self, known: Mapping[str, int | str] | None):
        """Stores the ids; None where names decide."""
        self._known = known
        self._index = image_ids_lib.NameIndex(known or {})
        self._used: set[int | str] = set()

    def __call__(self, item: Item) -> int | str | None:
        """Returns the id of a record."""
        if self._known is None:
            return None
        image_id = self._index.find(item.file_name, item.file_name)
        if image_id is None or image_id in self._used:
            what = "is not among" if image_id is None else "is twice among"
            raise errors.DataError(
                f"The image {item.file_name} {what} the {len(self._known)} "
                "images whose ids are given."
            )
        self._used.add(image_id)
        return image_id
