# SPDX-License-Identifier: Apache-2.0
"""How well the scores of predicted things state their precision.

A score is reliable when, of the things with scores of about s, the share s is
right. The mean difference is the expected calibration error (ECE) of Naeini,
Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian
Binning", AAAI 2015, in the form of Guo et al., "On Calibration of Modern Neural
Networks", ICML 2017 (arXiv:1706.04599), section 2. Right is a thing that
matches a true one as in PQ: same class, IoU above 0.5.
"""

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.metrics import map_segments, segment_matching
from deeplab2_like.metrics import overlaps as overlaps_lib

NUM_BINS = 10


@dataclasses.dataclass(frozen=True)
class ScoreBin:
    """The predicted things with scores in an interval.

    Attributes:
        lowest: Lower end, which belongs to it.
        highest: Upper end, which belongs to the last interval only.
        count: Things.
        matched: Things that are right.
        mean_score: Expected precision; NaN without things.
        precision: Observed precision, matched / count; NaN without things.
    """

    lowest: float
    highest: float
    count: int
    matched: int
    mean_score: float
    precision: float


@dataclasses.dataclass(frozen=True)
class Reliability:
    """The reliability of a group of predicted things.

    Attributes:
        bins: `NUM_BINS` intervals of equal width from 0 to 1.
        count: Things in all of them.
        mean_score: Expected precision; NaN without things.
        precision: Observed precision; NaN without things.
        ece: Expected calibration error in 0..1, the mean over the things of
            |precision - mean score| of their interval; NaN without things.
    """

    bins: tuple[ScoreBin, ...]
    count: int
    mean_score: float
    precision: float
    ece: float


class ScoreReliability:
    """Scores and matches of the predicted things of label maps.

    Things that are neither right nor wrong, because they lie on void or crowd,
    are left out. The state is three numbers for each class and interval.
    """

    def __init__(
        self, descriptor: DatasetDescriptor, *, variant: str = "panopticapi"
    ):
        """Creates an accumulator without images.

        Args:
            descriptor: The data set of the labels, with C classes.
            variant: Rules of the matching; see `PanopticQuality`.

        Raises:
            ConfigError: The variant does not exist.
        """
        self._segments = map_segments.SegmentFinder(descriptor, variant)
        self._thing_ids = descriptor.thing_ids
        # Count, sum of scores and matches, by class and interval.
        self._counts = np.zeros((3, descriptor.num_classes, NUM_BINS))

    def update(
        self,
        true: Any,
        predicted: Any,
        segment_ids: Any,
        segment_scores: Any,
        name: str = "",
    ) -> None:
        """Adds one image.

        Args:
            true: Integers [H, W], true labels.
            predicted: Integers [H, W], predicted labels.
            segment_ids: Integers [S], labels of the predicted segments.
            segment_scores: Floats [S]; those below 0 and above 1 count as 0
                and 1.
            name: Name of the image, for error messages.

        Raises:
            DataError: The maps are not integers of equal dimensions, a class
                does not exist, a predicted thing is not among the segments, or
                its score is not finite.
        """
        ((name, true_hw, predicted_hw),) = overlaps_lib.iterate_images(
            np.asarray(true)[None], np.asarray(predicted)[None], [name]
        )
        found = overlaps_lib.compute_overlaps(true_hw, predicted_hw)
        truth, prediction, is_void = self._segments.find(name, found)
        matches = segment_matching.find_matches(
            truth, prediction, found, is_void
        )
        is_right = np.zeros(len(prediction.ids), bool)
        is_right[matches.predicted_index] = True
        is_thing = np.isin(prediction.classes, self._thing_ids)
        rows = np.flatnonzero(is_thing & (is_right | matches.is_false))
        scores = map_segments.look_up_scores(
            name,
            prediction.ids[rows],
            np.asarray(segment_ids),
            np.asarray(segment_scores),
        ).clip(0.0, 1.0)
        place = np.minimum((scores * NUM_BINS).astype(np.int64), NUM_BINS - 1)
        classes = prediction.classes[rows]
        np.add.at(self._counts[0], (classes, place), 1.0)
        np.add.at(self._counts[1], (classes, place), scores)
        np.add.at(self._counts[2], (classes, place), is_right[rows])

    def merge(self, other: "ScoreReliability") -> None:
        """Adds the images of another accumulator of the same data set.

        Raises:
            ConfigError: The other one has other classes.
        """
        if other._counts.shape != self._counts.shape:
            raise errors.ConfigError(
                f"Scores of {other._counts.shape[1]} classes cannot be merged "
                f"into those of {self._counts.shape[1]} classes. Create both "
                "from the same descriptor."
            )
        self._counts += other._counts

    def result(self) -> Reliability:
        """Returns the reliability of the things of all classes."""
        return _summarize(self._counts.sum(1))

    def per_class(self) -> dict[int, Reliability]:
        """Returns the reliability of each thing class by its index."""
        return {c: _summarize(self._counts[:, c]) for c in self._thing_ids}


def _summarize(counts_3n: npt.NDArray[np.float64]) -> Reliability:
    count, scores, matched = counts_3n
    bins = tuple(
        ScoreBin(
            lowest=i / NUM_BINS,
            highest=(i + 1) / NUM_BINS,
            count=int(count[i]),
            matched=int(matched[i]),
            mean_score=_divide(scores[i], count[i]),
            precision=_divide(matched[i], count[i]),
        )
        for i in range(NUM_BINS)
    )
    total = count.sum()
    return Reliability(
        bins,
        int(total),
        _divide(scores.sum(), total),
        _divide(matched.sum(), total),
        _divide(np.abs(matched - scores).sum(), total),
    )


def _divide(value: float, count: float) -> float:
    return float(value / count) if count else math.nan
