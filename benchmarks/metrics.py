# SPDX-License-Identifier: Apache-2.0
"""Measures the metrics: an update by an image of 1024x2048, and the result.

python benchmarks/metrics.py
"""

import pathlib
import sys
from collections.abc import Iterator

import numpy as np

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import inputs, measuring, running  # noqa: E402
from deeplab2_like.labels import descriptor as descriptor_lib  # noqa: E402
from deeplab2_like.metrics import (  # noqa: E402
    average_precision,
    panoptic_quality,
)

_THINGS = (10, 30, 100)
_IMAGES_OF_A_RESULT = 6
# The inputs have the classes of Cityscapes.
_DESCRIPTOR = descriptor_lib.load("cityscapes_panoptic")
_SIZES = {"height": inputs.SIZE[0], "width": inputs.SIZE[1]}


def _measure_quality() -> Iterator[measuring.Measurement]:
    for things in _THINGS:
        truth, predicted = inputs.load_metric_pair(
            running.inputs_folder(), things
        )
        metric = panoptic_quality.PanopticQuality(_DESCRIPTOR)

        def run(metric=metric, truth=truth, predicted=predicted):
            metric.update(truth, predicted)

        yield measuring.measure(
            f"pq_update/{things}",
            run,
            sizes=_SIZES,
            effort=running.effort(),
            memory=measuring.Memory.WARM,
        )


def _measure_precision() -> Iterator[measuring.Measurement]:
    for things in _THINGS:
        truth, predicted = inputs.load_metric_pair(
            running.inputs_folder(), things
        )
        ids = np.unique(predicted)
        scores = np.random.default_rng(things).random(len(ids))
        metric = average_precision.AveragePrecision(_DESCRIPTOR)

        def update(
            metric=metric,
            truth=truth,
            predicted=predicted,
            ids=ids,
            scores=scores,
        ):
            metric.update(truth, predicted, ids, scores)

        yield measuring.measure(
            f"ap_update/{things}",
            update,
            sizes=_SIZES,
            effort=running.effort(),
            memory=measuring.Memory.WARM,
        )
        some = average_precision.AveragePrecision(_DESCRIPTOR)
        for _ in range(_IMAGES_OF_A_RESULT):
            update(metric=some)
        yield measuring.measure(
            f"ap_result_of_{_IMAGES_OF_A_RESULT}/{things}",
            lambda some=some: some.result(),
            sizes=_SIZES,
            effort=running.effort(),
            memory=measuring.Memory.WARM,
        )


if __name__ == "__main__":
    running.run(
        {
            "panoptic_quality": running.Case(_measure_quality),
            "average_precision": running.Case(_measure_precision),
        }
    )
