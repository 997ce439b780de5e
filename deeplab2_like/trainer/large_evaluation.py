# SPDX-License-Identifier: Apache-2.0
"""Evaluates models on images larger than memory, by tiles, for Orbit.

Each image is predicted as deeplab2-predict --tile does it, and compared with
its label map at the original size, band by band.
"""

import contextlib
import dataclasses
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from deeplab2_like.console import progress
from deeplab2_like.data import preprocessing as preprocessing_lib
from deeplab2_like.data.large import examples, lists
from deeplab2_like.large_images import (
    live,
    network,
    predicting,
    work_folder,
)
from deeplab2_like.large_images.options import LargeOptions
from deeplab2_like.large_images.result import LargeResult
from deeplab2_like.meta_architectures import contract
from deeplab2_like.metrics import overlaps as overlaps_lib
from deeplab2_like.metrics import tube_overlaps
from deeplab2_like.storage import any_files
from deeplab2_like.trainer import evaluator, optimizers, scores

# Work files of an image, below the folder of the evaluation.
_WORK = ".large-"
_BAND_PIXELS = 1 << 22
_NO_AP = "AP is not computed for large images."


@dataclasses.dataclass(frozen=True)
class LargeImages:
    """What is evaluated.

    Attributes:
        entries: The images with their labels.
        folder: Folder for the work files, which are deleted when an image is
            done. Of an address they lie in a temporary folder.
        rules: A text that differs where the rules of post-processing do, such
            as the config.
    """

    entries: Sequence[lists.LargeEntry]
    folder: str
    rules: str = ""

    @contextlib.contextmanager
    def open_work(self, fingerprint: str, index: int) -> Iterator[str]:
        """Chooses the folder for the work files of an image, inside a block.

        It is the same after a kill, unless another program is using it. The
        files are deleted when the block ends without an error.

        Args:
            fingerprint: That of the model.
            index: Number of the image.
        """
        if any_files.is_remote(self.folder):
            with tempfile.TemporaryDirectory(prefix="large_image_") as work:
                yield work
            return
        for number in itertools.count(1):
            more = f"-{number}" * (number > 1)
            name = f"{_name_work(fingerprint)}{index}{more}"
            path = os.path.join(self.folder, name)
            lock = work_folder.reserve(path)
            if lock is not None:
                break
        yield path
        work_folder.clear(path)

    def remove_others(self, fingerprint: str) -> None:
        """Deletes what killed evaluations of other weights or rules left."""
        if any_files.is_remote(self.folder):
            return
        for name in any_files.list_names(self.folder):
            is_own = name.startswith(_name_work(fingerprint))
            path = os.path.join(self.folder, name)
            if name.startswith(_WORK) and not is_own:
                # A kill may have come before there was a file.
                lock = work_folder.reserve(path)
                if lock is not None:
                    shutil.rmtree(path, ignore_errors=True)


def _name_work(fingerprint: str) -> str:
    return f"{_WORK}{fingerprint[:16]}-"


class LargeEvaluator(evaluator.BaseEvaluator):
    """An evaluator of a model, whose batches are single images.

    Its results have no losses and no AP.
    """

    def __init__(
        self,
        system: contract.MetaArchitecture,
        model: keras.Model,
        preprocessing: preprocessing_lib.Preprocessing,
        images: LargeImages,
        *,
        write_results: Callable[[Mapping[str, Any]], None],
        average: optimizers.AveragedWeights | None = None,
        pq_variant: str,
        report: progress.Progress,
    ):
        """Opens each image once, so that what is wrong is found early.

        Args:
            system: System of the model.
            model: The model that `system` built.
            preprocessing: Options of preprocessing; `crop_size` is that of
                the tiles.
            images: The images.
            write_results: Function that writes the results.
            average: Weights to evaluate in place of the model's own.
            pq_variant: Variant of the panoptic quality.
            report: Display of the progress.

        Raises:
            DataError: An image or label map cannot be used.
            InstallError: A package that reads them is not installed.
        """
        super().__init__(average, write_results)
        self._system, self._model = system, model
        self._preprocessing = preprocessing
        self._images = images
        self._pq_variant, self._progress = pq_variant, report
        for entry in images.entries:
            examples.LargeExample(entry, system.descriptor).close()

    def _evaluate(self, num_images: int) -> dict[str, float]:
        entries = list(self._images.entries)
        if num_images >= 0:
            entries = entries[:num_images]
        found = scores.Scores(
            self._system,
            pq_variant=self._pq_variant,
            label_divisor=examples.WIDE_DIVISOR,
        )
        model = live.make_tile_model(
            self._system, self._model, self._preprocessing, self._images.rules
        )
        self._images.remove_others(model.fingerprint)
        with self._progress.phase(
            "Evaluating", len(entries), unit="images"
        ) as phase:
            for index, entry in enumerate(entries):
                with self._images.open_work(model.fingerprint, index) as work:
                    overlaps = self._compare(model, entry, work)
                found.update_overlaps(entry.image, overlaps)
                phase.advance(index + 1, images=index + 1)
                self.after_batch(index + 1)
        results = found.results()
        results["warnings"].append(_NO_AP)
        return self._finish(results)

    def _compare(
        self, model: network.TileModel, entry: lists.LargeEntry, work: str
    ) -> overlaps_lib.Overlaps:
        """Predicts an image, and compares it with its labels."""
        options = LargeOptions(self._preprocessing.crop_size[0])
        example = examples.LargeExample(
            entry, self._system.descriptor, log=self._progress.log
        )
        with contextlib.closing(example):
            result = predicting.predict_large(
                model, example.image, options, work, self._progress
            )
            for problem in result.problems:
                self._progress.log(problem)
            found = compare(example, result)
            for problem in example.describe_damaged_labels():
                self._progress.log(problem)
        return found


def compare(
    example: examples.LargeExample, result: LargeResult
) -> overlaps_lib.Overlaps:
    """Counts the pixels that true and predicted segments share.

    A band of rows is in memory, and the pairs.

    Args:
        example: The image with its label map.
        result: The prediction.

    Returns:
        Overlaps of panoptic ids, class * `WIDE_DIVISOR` + instance.
    """
    total = tube_overlaps.OverlapSum()
    rows = max(1, _BAND_PIXELS // example.width)
    for top in range(0, example.height, rows):
        bottom = min(top + rows, example.height)
        true = example.read_labels(
            top, 0, bottom, example.width, examples.WIDE_DIVISOR
        )
        predicted = result.labels.read(top, bottom)
        total.add(overlaps_lib.compute_overlaps(true, predicted))
    found = total.result()
    names = _name_segments(result, example.void_class)
    return tube_overlaps.rename(
        found, found.true_ids, names[found.predicted_ids]
    )


def _name_segments(
    result: LargeResult, void_class: int
) -> npt.NDArray[np.int64]:
    """Returns the panoptic id of each id of the label map."""
    segments = result.segments
    size = int(segments.id.max(initial=0)) + 1
    names = np.full(size, void_class * examples.WIDE_DIVISOR)
    numbers = np.where(segments.is_thing, segments.id, 0).astype(np.int64)
    names[segments.id] = (
        segments.category.astype(np.int64) * examples.WIDE_DIVISOR + numbers
    )
    return names
