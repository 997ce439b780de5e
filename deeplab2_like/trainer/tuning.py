# SPDX-License-Identifier: Apache-2.0
"""Chooses the settings of post-processing on images with labels.

The model runs once on each image. Its outputs are stored on disk and
post-processed again, by `tuning_scoring`, with each of the settings that
`tuning_search` tries. In reading order: `Tuner`, and behind it `read_settings`
and `with_settings`, which connect settings with the fields of a config.
"""

import dataclasses
import functools
import math
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.config.decimals import read_decimal
from deeplab2_like.console import progress
from deeplab2_like.meta_architectures import build as system_build
from deeplab2_like.meta_architectures import contract
from deeplab2_like.metrics import panoptic_quality
from deeplab2_like.protos import config_pb2
from deeplab2_like.trainer import (
    build,
    replica_batches,
    stored_outputs,
    tuning_scoring,
    tuning_search,
)

_OUTPUT = "output/"
# What is needed of a batch besides the outputs of the model.
_BATCH = ("name", "panoptic", "valid_size", "original_size")


@dataclasses.dataclass(frozen=True)
class Tuned:
    """What a `Tuner` found.

    Attributes:
        num_images: Images that it was chosen and scored on.
        start: Value of each setting before, by path of its field.
        found: What was found on the images of each part.
        scores: Panoptic quality of the settings before, and of those that were
            found on a part, on each part: [scored on, None or found on].
        tried: All settings that were tried, with their panoptic quality on each
            part.
    """

    num_images: int
    start: dict[str, float]
    found: dict[tuning_search.Part, tuning_search.Found]
    scores: dict[
        tuple[tuning_search.Part, tuning_search.Part | None],
        float,
    ]
    tried: list[tuple[dict[str, float], tuning_search.PartScores]]


class Tuner:
    """Scores settings of post-processing on stored outputs of a model."""

    def __init__(
        self,
        options: config_pb2.ExperimentOptions,
        system: contract.MetaArchitecture,
        model: keras.Model,
        strategy: tf.distribute.Strategy,
        *,
        report: progress.Progress,
    ):
        """Stores the parts of the run.

        Args:
            options: The config.
            system: System of the model.
            model: The model, restored.
            strategy: The distribution strategy, of one process.
            report: Display of the progress.

        Raises:
            ConfigError: The system has no settings to choose.
        """
        self._options = options
        self._system = system
        self._model = model
        self._strategy = strategy
        self._report = report
        self._fields = dict(system.tunable_fields())
        self._num_images = 0
        self._programs = tuning_scoring.Programs(system, self._build_system)
        if not self._fields:
            raise errors.ConfigError(
                "--tune chooses how instances are found and merged, and the "
                "model of this config has none: there is nothing to tune."
            )

    def run(self, dataset: tf.data.Dataset, folder: pathlib.Path) -> Tuned:
        """Runs the model, and searches.

        Args:
            dataset: The batches of the evaluation.
            folder: An empty folder for the outputs.

        Raises:
            DataError: There are no labels to score by, or no space for the
                outputs.
        """
        stored = self._store(dataset, folder)
        start = read_settings(self._options, self._fields)

        def score_many(
            settings: Sequence[tuning_search.Settings],
        ) -> list[tuning_search.PartScores]:
            return self._score_many(settings, stored)

        search = tuning_search.Search(self._fields, start, score_many)
        if math.isnan(search.score_start()):
            raise errors.DataError(
                "The panoptic quality of these images is not defined, as they "
                "have no labels of any class: nothing can be tuned on them."
            )
        found = search.run()
        scores: dict[
            tuple[tuning_search.Part, tuning_search.Part | None], float
        ] = {}
        for part in tuning_search.Part:
            scores[part, None] = search.score(start, part)
            for source, one in found.items():
                scores[part, source] = search.score(one.settings, part)
        return Tuned(
            self._num_images, start, found, scores, search.list_scores()
        )

    def _store(
        self, dataset: tf.data.Dataset, folder: pathlib.Path
    ) -> stored_outputs.StoredOutputs:
        """Runs the model on all batches and stores what is needed later."""
        stored = stored_outputs.StoredOutputs(folder)
        steps = self._options.evaluator_options.eval_steps
        if steps >= 0:
            dataset = dataset.take(steps)
        total = int(dataset.cardinality())
        with self._strategy.scope():
            batches = replica_batches.ReplicaBatches(
                self._infer, self._strategy
            )
        self._num_images = 0
        with self._report.phase(
            "Computing outputs", total if total >= 0 else None, unit="batches"
        ) as phase:
            for done, (batch, outputs) in enumerate(batches.run(dataset), 1):
                arrays = {name: np.asarray(batch[name]) for name in _BATCH}
                arrays["canvas_size"] = np.array(batch["image"].shape[1:3])
                # Names have any length, which NumPy's files do not keep.
                arrays["name"] = arrays["name"].astype("S")
                arrays |= {_OUTPUT + k: v for k, v in outputs.items()}
                size = stored.add(arrays)
                if done == 1:
                    _check_space(folder, size, total)
                self._num_images += len(batch["name"])
                phase.advance(done, images=self._num_images)
        return stored

    def _infer(self, inputs: replica_batches.Batch) -> dict[str, tf.Tensor]:
        """Returns what post-processing takes, as an evaluation computes it."""
        return dict(self._system.infer(self._model, inputs["image"]))

    def _score_many(
        self,
        settings: Sequence[tuning_search.Settings],
        stored: stored_outputs.StoredOutputs,
    ) -> list[tuning_search.PartScores]:
        """Scores several settings; reads each batch once."""
        before = len(self._programs)
        scorers = [self._make_scorer(values) for values in settings]
        index = 0
        with (
            self._report.phase(
                _describe_work(len(settings), len(self._programs) - before),
                len(stored),
                unit="batches",
            ) as phase,
            tf.device(self._strategy.extended.worker_devices[0]),
        ):
            for done, arrays in enumerate(stored, 1):
                outputs = {
                    name.removeprefix(_OUTPUT): tf.constant(value)
                    for name, value in arrays.items()
                    if name.startswith(_OUTPUT)
                }
                for scorer in scorers:
                    scorer.add(arrays, outputs, index)
                index += len(arrays["name"])
                phase.advance(done, images=index)
        return [scorer.results() for scorer in scorers]

    def _build_system(
        self, settings: tuning_search.Settings
    ) -> contract.MetaArchitecture:
        options = with_settings(self._options, settings)
        return system_build.build_system(options, self._system.descriptor)

    def _make_scorer(
        self, settings: tuning_search.Settings
    ) -> tuning_scoring.Scorer:
        return tuning_scoring.Scorer(
            self._programs.find(settings),
            functools.partial(
                panoptic_quality.PanopticQuality,
                self._system.descriptor,
                variant=build.pq_variant(self._options.evaluator_options),
            ),
            self._num_images,
        )


def _describe_work(settings: int, programs: int) -> str:
    """Returns the name of a phase that scores some settings.

    Args:
        settings: Their number.
        programs: How many of them have no compiled program yet.
    """
    scored = f"Scoring {settings} setting{'s' if settings > 1 else ''}"
    return f"{scored}, {programs} to compile" if programs else scored


def _check_space(folder: pathlib.Path, size: int, batches: int) -> None:
    """Checks that the disk holds as many batches of a size."""
    free = shutil.disk_usage(folder).free
    needed = size * (batches - 1)
    if needed > free:
        raise errors.DataError(
            f"The outputs of all images take about {1e-9 * needed:.1f} GB in "
            f"{folder.parent}, where {1e-9 * free:.1f} GB are free. Free some "
            "space, or tune on fewer images, --config_override="
            "'evaluator_options { eval_steps: 100 }'."
        )


def read_settings(
    options: config_pb2.ExperimentOptions, paths: Mapping[str, Any]
) -> dict[str, float]:
    """Reads the values of fields, as they are written in the config.

    Args:
        options: The config.
        paths: Paths of the fields.
    """
    settings = {}
    for path in paths:
        message, name = _find_field(options, path)
        value = getattr(message, name)
        is_float = isinstance(value, float)
        settings[path] = read_decimal(value) if is_float else value
    return settings


def with_settings(
    options: config_pb2.ExperimentOptions, settings: tuning_search.Settings
) -> config_pb2.ExperimentOptions:
    """Returns a config with other values of fields.

    Args:
        options: The config, which is not changed.
        settings: Values by path of the field.
    """
    changed = config_pb2.ExperimentOptions()
    changed.CopyFrom(options)
    for path, value in settings.items():
        message, name = _find_field(changed, path)
        setattr(message, name, value)
    return changed


def _find_field(
    options: config_pb2.ExperimentOptions, path: str
) -> tuple[Any, str]:
    *parents, name = path.split(".")
    message: Any = options
    for parent in parents:
        message = getattr(message, parent)
    return message, name
