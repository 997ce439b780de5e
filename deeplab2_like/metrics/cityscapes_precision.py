# SPDX-License-Identifier: Apache-2.0
"""Average precision of things, as Cityscapes defines it.

Cityscapes' AP (cityscapesScripts: `evalInstanceLevelSemanticLabeling.py`)
differs from COCO's (`average_precision`): detections in void are excused, small
true objects need not be found, and the precision is not made monotonic but
integrated step by step.
"""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.metrics import overlaps as overlaps_lib

# An overlap (IoU) has to be above them.
THRESHOLDS = np.arange(0.5, 1.0, 0.05)
# True objects of fewer pixels are not looked for.
MIN_AREA = 100


@dataclasses.dataclass(frozen=True)
class CityscapesPrecisionResult:
    """AP of a set of images.

    Attributes:
        ap: Mean over classes and thresholds; NaN without true objects.
        ap50: Mean over classes at the threshold 0.5.
        per_class: float64 [C, 10], by thing class in the order of their
            indices and by threshold; NaN for classes without true objects.
        num_images: Images that were compared.
    """

    ap: float
    ap50: float
    per_class: npt.NDArray[np.float64]
    num_images: int


@dataclasses.dataclass(frozen=True)
class _Objects:
    """Objects of one class in one image.

    Attributes:
        ious: float64 [P, G], of detections and true objects.
        shared: int64 [P, G], pixels that they share.
        scores: float64 [P].
        areas: int64 [P], pixels of the detections.
        void: int64 [P], pixels of the detections in void.
        is_crowd: bool [G].
        is_small: bool [G].
    """

    ious: npt.NDArray[np.float64]
    shared: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]
    areas: npt.NDArray[np.int64]
    void: npt.NDArray[np.int64]
    is_crowd: npt.NDArray[np.bool_]
    is_small: npt.NDArray[np.bool_]


class CityscapesPrecision:
    """AP of the things of panoptic maps, by the rules of Cityscapes.

        truth = np.array([[0] * 100 + [1001] * 100])  # Sky and a car.
        precision = CityscapesPrecision(descriptor.make(["sky"], ["car"]))
        precision.update(truth, truth, [1001], [0.9])
        print(precision.result().ap)

    A true thing with instance 0 is a group. Detections do not overlap, because
    they are those of a map. One difference from the scripts: there the pixels
    of single caravans and trailers, which are not scored, are not void; here
    they are, as in the labels.
    """

    def __init__(self, descriptor: DatasetDescriptor):
        """Creates an accumulator without images.

        Args:
            descriptor: The data set.
        """
        self._data = descriptor
        self._images: list[dict[int, _Objects]] = []

    def update(
        self, true: Any, predicted: Any, segment_ids: Any, segment_scores: Any
    ) -> None:
        """Adds an image.

        Args:
            true: Integers [H, W], true labels.
            predicted: Integers [H, W], predicted labels.
            segment_ids: Integers [S], labels of the segments; those of stuff
                and those without pixels are left out.
            segment_scores: Floats [S].

        Raises:
            errors.DataError: The maps differ in size, or a predicted thing has
                no score.
        """
        ((_, true_hw, predicted_hw),) = overlaps_lib.iterate_images(
            true, predicted
        )
        scores = dict(
            zip(
                np.asarray(segment_ids).tolist(),
                np.asarray(segment_scores, np.float64).tolist(),
                strict=True,
            )
        )
        found = overlaps_lib.compute_overlaps(true_hw, predicted_hw)
        divisor = self._data.label_divisor
        classes = found.predicted_ids // divisor
        wanted = np.isin(classes, self._data.thing_ids)
        missing = [
            key for key in found.predicted_ids[wanted].tolist()
            if key not in scores
        ]  # fmt: skip
        if missing:
            raise errors.DataError(
                f"The predicted thing {missing[0]} has no score. Give a row of "
                "the table of segments for each."
            )
        self._images.append(
            {
                index: self._compare(found, index, scores)
                for index in self._data.thing_ids
            }
        )

    def _compare(
        self,
        found: overlaps_lib.Overlaps,
        index: int,
        scores: dict[int, float],
    ) -> _Objects:
        """Compares the objects of one class."""
        divisor = self._data.label_divisor
        columns = np.flatnonzero(found.true_ids // divisor == index)
        rows = np.flatnonzero(found.predicted_ids // divisor == index)
        table = np.zeros(
            (len(found.predicted_ids), len(found.true_ids)), np.int64
        )
        table[found.predicted_index, found.true_index] = found.areas
        shared = table[np.ix_(rows, columns)]
        areas = found.predicted_areas[rows]
        true_areas = found.true_areas[columns]
        is_void = found.true_ids // divisor == self._data.ignore_label
        union = areas[:, None] + true_areas[None] - shared
        return _Objects(
            shared / np.maximum(union, 1),
            shared,
            np.array([scores[int(i)] for i in found.predicted_ids[rows]]),
            areas,
            table[rows][:, is_void].sum(axis=1),
            found.true_ids[columns] % divisor == 0,
            true_areas < MIN_AREA,
        )

    def result(self) -> CityscapesPrecisionResult:
        """Returns the values of all images so far; changes nothing."""
        values = np.array(
            [
                [self._average(index, limit) for limit in THRESHOLDS]
                for index in self._data.thing_ids
            ]
        ).reshape(len(self._data.thing_ids), len(THRESHOLDS))
        is_known = ~np.isnan(values)
        return CityscapesPrecisionResult(
            float(values[is_known].mean()) if is_known.any() else np.nan,
            float(values[is_known[:, 0], 0].mean())
            if is_known.any()
            else np.nan,
            values,
            len(self._images),
        )

    def _average(self, index: int, limit: float) -> float:
        """Computes the AP of a class at a threshold; NaN without objects."""
        scores, is_right = [], []
        num_missed, num_true, num_found = 0, 0, 0
        for image in self._images:
            one = image[index]
            fits = one.ious > limit
            looked_for = ~one.is_crowd & ~one.is_small
            num_true += int(looked_for.sum())
            num_found += len(one.scores)
            # Above an overlap of 0.5 an object fits one detection at most.
            right = fits[:, looked_for].any(axis=1)
            num_missed += int((~fits[:, looked_for].any(axis=0)).sum())
            excused = one.void + (
                one.shared * (1 * one.is_crowd + 1 * one.is_small)
            ).sum(axis=1)
            wrong = ~fits.any(axis=1) & (excused / one.areas <= limit)
            for chosen, value in ((right, 1), (wrong, 0)):
                scores += one.scores[chosen].tolist()
                is_right += [value] * int(chosen.sum())
        if not num_true:
            return np.nan
        if not num_found or not scores:
            return 0.0
        return _integrate(np.array(scores), np.array(is_right), num_missed)


def _integrate(
    scores: npt.NDArray[np.float64],
    is_right: npt.NDArray[np.int64],
    num_missed: int,
) -> float:
    """Integrates the precision over the recall, step by step.

    Args:
        scores: float64 [N] of the detections that count.
        is_right: int [N], 1 where the detection is right.
        num_missed: True objects without a detection.
    """
    order = np.argsort(scores)
    scores, is_right = scores[order], is_right[order]
    starts = np.flatnonzero(np.diff(scores, prepend=-np.inf) > 0)
    below = np.concatenate([[0], np.cumsum(is_right)])[starts]
    right = is_right.sum() - below
    precision = right / (len(scores) - starts)
    recall = right / np.maximum(right + below + num_missed, 1)
    # Without any detection precision is 1 and recall 0.
    precision = np.append(precision, 1.0)
    recall = np.append(recall, 0.0)
    padded = np.concatenate([recall[:1], recall, [0.0]])
    return float(precision @ ((padded[:-2] - padded[2:]) / 2))
