# SPDX-License-Identifier: Apache-2.0
"""Scores settings of post-processing on stored outputs of a model.

In reading order: `Programs`, which compiles as little as possible, and
`Scorer`, which scores the settings of one group on each part of the images.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy.typing as npt
import tensorflow as tf

from deeplab2_like.meta_architectures import contract
from deeplab2_like.metrics import panoptic_quality
from deeplab2_like.postprocess import prediction
from deeplab2_like.results import original_size
from deeplab2_like.trainer import tuning_search

# Outputs of one image, size of the canvas, valid size -> segments.
PostProcess = Callable[
    [contract.Tensors, tuple[int, ...], tf.Tensor], prediction.Prediction
]


class Programs:
    """Compiled post-processing, which settings share as far as they can.

    The thresholds are inputs; each choice of the other fields is compiled, for
    each size of canvas. All are kept: each round of the search tries all values
    again, and TensorFlow keeps the memory of a program that is let go.
    """

    def __init__(
        self,
        system: contract.MetaArchitecture,
        build_system: Callable[
            [tuning_search.Settings], contract.MetaArchitecture
        ],
    ):
        """Starts without programs.

        Args:
            system: The system of the config.
            build_system: Returns that of the config with some settings.
        """
        self._build_system = build_system
        thresholds = system.thresholds()
        self._compiled_fields = [
            path for path in system.tunable_fields() if path not in thresholds
        ]
        self._programs: dict[tuple[float, ...], Any] = {}

    def __len__(self) -> int:
        """Returns the number of programs, for one size of canvas."""
        return len(self._programs)

    def find(self, settings: tuning_search.Settings) -> PostProcess:
        """Returns the post-processing of an evaluation with some settings."""
        system = self._build_system(settings)
        key = tuple(settings[path] for path in self._compiled_fields)
        if key not in self._programs:
            self._programs[key] = tf.function(
                system.postprocess, jit_compile=True, autograph=False
            )
        thresholds = {
            path: tf.constant(value)
            for path, value in system.thresholds().items()
        }
        return functools.partial(self._programs[key], thresholds=thresholds)


class Scorer:
    """The panoptic quality of one group of settings, on each part."""

    def __init__(
        self,
        postprocess: PostProcess,
        make_quality: Callable[[], panoptic_quality.PanopticQuality],
        num_images: int,
    ):
        """Starts without images.

        Args:
            postprocess: Post-processing with the settings.
            make_quality: Makes an empty panoptic quality.
            num_images: Number of all images, the first half of which is a part.
        """
        self._postprocess = postprocess
        self._make_quality = make_quality
        self._half = num_images // 2
        self._qualities = {
            part: self._make_quality() for part in tuning_search.Part
        }

    def add(
        self,
        batch: Mapping[str, npt.NDArray[Any]],
        outputs: Mapping[str, tf.Tensor],
        first: int,
    ) -> None:
        """Adds the images of a batch, the first of which has a given index."""
        canvas_size = tuple(int(n) for n in batch["canvas_size"])
        for index, name in enumerate(batch["name"]):
            # One by one: a short last batch would be compiled again.
            one = slice(index, index + 1)
            segments = self._postprocess(
                {key: value[one] for key, value in outputs.items()},
                canvas_size,
                tf.constant(batch["valid_size"][one]),
            )
            panoptic_hw = segments.as_dict()["panoptic"].numpy()[0]
            height, width = (int(n) for n in batch["valid_size"][index])
            rows, columns = (int(n) for n in batch["original_size"][index])
            # As `scores.Scores` adds an image, also in the order of the sums.
            quality = self._make_quality()
            quality.update(
                batch["panoptic"][index, :rows, :columns],
                original_size.resize_nearest(
                    panoptic_hw[:height, :width], (rows, columns)
                ),
                names=[name.decode()],
            )
            parts = tuning_search.Part
            is_first = first + index < self._half
            half = parts.FIRST_HALF if is_first else parts.SECOND_HALF
            for part in (parts.ALL, half):
                self._qualities[part].merge(quality)

    def results(self) -> tuning_search.PartScores:
        """Returns the panoptic quality on each part."""
        values = [
            quality.result().all.pq for quality in self._qualities.values()
        ]
        return values[0], values[1], values[2]
