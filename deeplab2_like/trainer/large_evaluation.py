# SPDX-License-Identifier: Apache-2.0
"""Evaluates models on images larger than memory, by tiles, for Orbit.

Each image is predicted as deeplab2-predict --tile does it, and compared with
its label map at the original size, band by band.
"""

import os
import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import orbit
import tensorflow as tf

from deeplab2_like.console import progress
from deeplab2_like.data import preprocessing as preprocessing_lib
from deeplab2_like.data.large import examples, lists
from deeplab2_like.large_images import live, predicting, work_folder
from deeplab2_like.large_images.options import LargeOptions
from deeplab2_like.large_images.result import LargeResult
from deeplab2_like.meta_architectures import contract
from deeplab2_like.metrics import overlaps as overlaps_lib
from deeplab2_like.metrics import tube_overlaps
from deeplab2_like.trainer import optimizers, scores

# Work files of an image, below the folder of the evaluation.
_WORK = ".large-"
_BAND_PIXELS = 1 << 22
_NO_AP = "AP is not computed for large images."


class LargeEvaluator(orbit.AbstractEvaluator):
    """An evaluator of a model; see `evaluation.Evaluator`.

    Attributes:
        results: Results of the last evaluation; see `runs.evaluate`. There are
            no losses and no AP.
        after_batch: Function that is called with the number of images done;
            what it raises ends the evaluation.
    """

    def __init__(
        self,
        system: contract.MetaArchitecture,
        model: keras.Model,
        preprocessing: preprocessing_lib.Preprocessing,
        entries: Sequence[lists.LargeEntry],
        folder: pathlib.Path,
        *,
        write_results: Callable[[Mapping[str, Any]], None],
        average: optimizers.AveragedWeights | None = None,
        scoring: tuple[str, progress.Progress],
    ):
        """Creates the evaluator.

        Args:
            system: System of the model.
            model: The model that `system` built.
            preprocessing: Options of preprocessing; `crop_size` is that of
                the tiles.
            entries: The images.
            folder: Folder for the work files, which are deleted when an image
                is done.
            write_results: Function that writes the results.
            average: Weights to evaluate in place of the model's own.
            scoring: Variant of the panoptic quality, and display of the
                progress.
        """
        self._system, self._model = system, model
        self._preprocessing = preprocessing
        self._entries, self._folder = list(entries), folder
        self._write_results = write_results
        self._average = average
        self._pq_variant, self._progress = scoring
        self.results: dict[str, Any] = {}
        self.after_batch: Callable[[int], None] = lambda _: None

    def evaluate(self, num_steps: tf.Tensor) -> dict[str, float]:
        """Evaluates `num_steps` images, or all if it is -1.

        Args:
            num_steps: Integer scalar.

        Returns:
            The finite summaries by name, and those of each class.
        """
        if self._average is None:
            return self._evaluate(int(num_steps))
        self._average.swap()
        try:
            return self._evaluate(int(num_steps))
        finally:
            self._average.swap()

    def _evaluate(self, num_images: int) -> dict[str, float]:
        entries = self._entries
        if num_images >= 0:
            entries = entries[:num_images]
        found = scores.Scores(
            self._system,
            pq_variant=self._pq_variant,
            label_divisor=examples.WIDE_DIVISOR,
        )
        options = LargeOptions(self._preprocessing.crop_size[0])
        model = live.make_tile_model(
            self._system, self._model, self._preprocessing, ""
        )
        prefix = f"{_WORK}{model.fingerprint[:16]}-"
        self._remove_others(prefix)
        with self._progress.phase(
            "Evaluating", len(entries), unit="images"
        ) as phase:
            for index, entry in enumerate(entries):
                example = examples.LargeExample(
                    entry, self._system.descriptor, log=self._progress.log
                )
                work = self._folder / f"{prefix}{index}"
                try:
                    result = predicting.predict_large(
                        model, example.image, options, work, self._progress
                    )
                    self._report(result)
                    found.update_overlaps(entry.image, compare(example, result))
                finally:
                    example.close()
                del result
                work_folder.clear(work)
                phase.advance(index + 1, images=index + 1)
                self.after_batch(index + 1)
        self.results = found.results()
        self.results["warnings"].append(_NO_AP)
        self._write_results(self.results)
        summaries = self.results["summaries"] | scores.class_summaries(
            self.results
        )
        return {k: v for k, v in summaries.items() if np.isfinite(v)}

    def _report(self, result: LargeResult) -> None:
        for problem in result.problems:
            self._progress.log(problem)

    def _remove_others(self, prefix: str) -> None:
        """Deletes what an evaluation of other weights left when it ended."""
        if not self._folder.is_dir():
            return
        for name in os.listdir(self._folder):
            if name.startswith(_WORK) and not name.startswith(prefix):
                work_folder.clear(self._folder / name)
                shutil.rmtree(self._folder / name, ignore_errors=True)


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
