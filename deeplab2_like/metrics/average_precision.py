# SPDX-License-Identifier: Apache-2.0
"""Mask average precision (AP) of things, as COCO defines it.

The masks stay in the label maps: their areas and overlaps are counted in one
pass (`overlaps`), the matching is done image by image (`instance_matching`) and
pycocotools averages over recall, thresholds and classes. The state is some
bytes per detection, and time and memory do not depend on the number of masks.
"""

import contextlib
import dataclasses
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.labels import label_map
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.metrics import instance_matching, map_segments
from deeplab2_like.metrics import overlaps as overlaps_lib

# Names of the twelve numbers, in COCO's order. AR with a number: at most that
# many detections per image and class.
NAMES = (
    "AP",
    "AP50",
    "AP75",
    "AP_small",
    "AP_medium",
    "AP_large",
    "AR1",
    "AR10",
    "AR100",
    "AR_small",
    "AR_medium",
    "AR_large",
)
_OTHER_PYCOCOTOOLS = (
    "AP is not computed: the installed pycocotools has no "
    "`COCOeval._paramsEval`, which is needed. Install pycocotools 2.0.11."
)


@dataclasses.dataclass(frozen=True)
class AveragePrecisionResult:
    """The values of COCO's evaluation of a set of images.

    Attributes:
        values: float64 [12], in the order of `NAMES`; -1 where no true object
            falls into the range (COCO's convention).
        per_class: AP by class index; NaN for classes without true objects.
        num_images: Images that were compared.
        warnings: Sentences about values that are not defined.
    """

    values: npt.NDArray[np.float64]
    per_class: dict[int, float]
    num_images: int
    warnings: tuple[str, ...] = ()

    @property
    def ap(self) -> float:
        """The main number: mean over thresholds 0.5..0.95; NaN if undefined."""
        return self.scalars()["AP"]

    def scalars(self) -> dict[str, float]:
        """Returns the twelve numbers by name; NaN where COCO has -1."""
        return {
            name: float(value) if value >= 0 else math.nan
            for name, value in zip(NAMES, self.values, strict=True)
        }


class AveragePrecision:
    """Mask AP of thing segments against the true things of label maps.

        truth = np.array([[0, 0, 1001, 1002]])  # sky, sky and two cars
        precision = AveragePrecision(descriptor.make(["sky"], ["car"]))
        precision.update(truth, truth, [1001, 1002], [0.9, 0.8])
        print(precision.result().ap)

    A true thing with instance 0 is a crowd region: detections in it are
    neither right nor wrong.

    Attributes:
        class_names: Names by class index.
    """

    def __init__(self, descriptor: DatasetDescriptor):
        """Creates an accumulator without images.

        Args:
            descriptor: The data set, whose thing classes are evaluated.
        """
        self._thing_ids = descriptor.thing_ids
        self._label_divisor = descriptor.label_divisor
        self.class_names = descriptor.class_names
        # One dictionary an image: class -> matched detections.
        self._images: list[dict[int, instance_matching.MatchedDetections]] = []

    def update(
        self,
        true: Any,
        predicted: Any,
        segment_ids: Any,
        segment_scores: Any,
        is_valid: Any = None,
        names: Sequence[str] | None = None,
    ) -> None:
        """Adds images whose detections are the things of a panoptic map.

        Args:
            true: Integers [H, W] or [B, H, W], true labels.
            predicted: Integers of the same dimensions, predicted labels.
            segment_ids: Integers [S] or [B, S], labels of the segments; those
                of stuff and those without pixels are left out.
            segment_scores: Floats [S] or [B, S], higher is better.
            is_valid: bool [S] or [B, S], which rows are segments; all if None.
            names: Name of each image, for error messages.

        Raises:
            DataError: The maps are not integers of equal dimensions, the
                segments have other dimensions, a thing of the map is not
                among the segments, or its score is not finite.
        """
        images = list(overlaps_lib.iterate_images(true, predicted, names))
        ids, scores = np.asarray(segment_ids), np.asarray(segment_scores)
        valid = (
            np.ones(ids.shape, bool)
            if is_valid is None
            else np.asarray(is_valid, bool)
        )
        if np.ndim(true) == 2:
            ids, scores, valid = ids[None], scores[None], valid[None]
        if (
            ids.ndim != 2
            or len(ids) != len(images)
            or not (ids.shape == scores.shape == valid.shape)
        ):
            raise errors.DataError(
                f"The segment ids have the dimensions {ids.shape}, the scores "
                f"{scores.shape}, is_valid {valid.shape}, for {len(images)} "
                "images. All must be [B, S], or [S] for one image [H, W]."
            )
        for i, (name, true_hw, predicted_hw) in enumerate(images):
            rows = valid[i]
            self._add_map(
                name, true_hw, predicted_hw, ids[i][rows], scores[i][rows]
            )

    def update_masks(
        self, true: Any, masks: Any, classes: Any, scores: Any
    ) -> None:
        """Adds one image whose detections are masks, which may overlap.

        Args:
            true: Integers [H, W], true labels.
            masks: bool [N, H, W], or any iterable of N masks [H, W].
            classes: Integers [N], class index of each mask.
            scores: Floats [N].

        Raises:
            DataError: The labels are not integers, a mask has other
                dimensions than them, or the numbers of masks, classes and
                scores differ.
        """
        true = overlaps_lib.convert_labels(true, "ground truth")
        classes = np.asarray(classes, np.int64).reshape(-1)
        scores = np.asarray(scores, np.float64).reshape(-1)
        true_ids, true_areas = np.unique(true, return_counts=True)
        shared, areas = [], []
        for mask in masks:
            mask_hw = np.asarray(mask, bool)
            if mask_hw.shape != true.shape:
                raise errors.DataError(
                    f"A mask has the dimensions {mask_hw.shape}, the ground "
                    f"truth {true.shape}. Both must be [H, W] and equal."
                )
            found = overlaps_lib.compute_overlaps(true, mask_hw)
            inside = found.predicted_ids[found.predicted_index] == 1
            index = found.true_index[inside]
            shared.append(
                label_map.sum_at(index, found.areas[inside], len(true_ids))
            )
            areas.append(int(np.count_nonzero(mask_hw)))
        if not len(areas) == len(classes) == len(scores):
            raise errors.DataError(
                f"{len(areas)} masks, {len(classes)} classes and "
                f"{len(scores)} scores were given. Give one of each for every "
                "detection."
            )
        self._images.append(
            self._match_classes(
                true_ids.astype(np.int64),
                true_areas,
                classes,
                scores,
                np.array(areas, np.int64),
                np.array(shared, np.int64).reshape(-1, len(true_ids)),
            )
        )

    def merge(self, other: "AveragePrecision") -> None:
        """Adds the images of another accumulator of the same data set.

        Raises:
            ConfigError: The other one evaluates other classes.
        """
        if other._thing_ids != self._thing_ids:
            raise errors.ConfigError(
                f"AP of the classes {other._thing_ids} cannot be merged into "
                f"AP of {self._thing_ids}. Create both from the same "
                "descriptor."
            )
        self._images.extend(other._images)

    def result(self) -> AveragePrecisionResult:
        """Returns the values of all images so far; changes nothing.

        Raises:
            InstallError: The package pycocotools is not installed.
        """
        evaluation = _make_cocoeval()
        num_images = len(self._images)
        if not hasattr(evaluation, "_paramsEval"):
            return AveragePrecisionResult(
                np.full([len(NAMES)], -1.0),
                dict.fromkeys(self._thing_ids, math.nan),
                num_images,
                (_OTHER_PYCOCOTOOLS,),
            )
        # pycocotools numbers classes and images from 0 in these lists.
        evaluation.params.catIds = list(range(len(self._thing_ids)))
        evaluation.params.imgIds = list(range(num_images))
        evaluation._paramsEval = evaluation.params
        evaluation.evalImgs = [
            _to_cocoeval(image.get(class_id), area)
            for class_id in self._thing_ids
            for area in range(len(instance_matching.AREA_RANGES))
            for image in self._images
        ]
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.accumulate()
            evaluation.summarize()
        values = np.asarray(evaluation.stats, np.float64)
        warnings: tuple[str, ...] = ()
        if values[0] < 0:
            warnings = (
                "No thing occurs in the ground truth: AP is not defined.",
            )
        precision = evaluation.eval["precision"][:, :, :, 0, -1]
        per_class = {
            class_id: _mean_of_defined(precision[:, :, k])
            for k, class_id in enumerate(self._thing_ids)
        }
        return AveragePrecisionResult(values, per_class, num_images, warnings)

    def _add_map(
        self,
        name: str,
        true_hw: npt.NDArray[Any],
        predicted_hw: npt.NDArray[Any],
        segment_ids: npt.NDArray[Any],
        segment_scores: npt.NDArray[Any],
    ) -> None:
        found = overlaps_lib.compute_overlaps(true_hw, predicted_hw)
        classes = found.predicted_ids // self._label_divisor
        things = np.flatnonzero(np.isin(classes, self._thing_ids))
        ids = found.predicted_ids[things]
        scores = map_segments.look_up_scores(
            name, ids, segment_ids, segment_scores
        )
        true_classes = found.true_ids // self._label_divisor
        true_things = np.flatnonzero(np.isin(true_classes, self._thing_ids))
        shared = _make_table(found, things, true_things)
        self._images.append(
            self._match_classes(
                found.true_ids[true_things],
                found.true_areas[true_things],
                classes[things],
                scores,
                found.predicted_areas[things],
                shared,
            )
        )

    def _match_classes(
        self,
        true_ids: npt.NDArray[np.int64],
        true_areas: npt.NDArray[np.int64],
        classes: npt.NDArray[Any],
        scores: npt.NDArray[Any],
        areas: npt.NDArray[np.int64],
        shared: npt.NDArray[np.int64],
    ) -> dict[int, instance_matching.MatchedDetections]:
        true_classes = true_ids // self._label_divisor
        is_crowd = true_ids % self._label_divisor == 0
        present = {*true_classes.tolist(), *classes.tolist()}
        matched = {}
        for class_id in sorted(present.intersection(self._thing_ids)):
            d = np.flatnonzero((classes == class_id) & (areas > 0))
            g = np.flatnonzero(true_classes == class_id)
            ious = instance_matching.compute_ious(
                shared[np.ix_(d, g)], areas[d], true_areas[g], is_crowd[g]
            )
            matched[class_id] = instance_matching.match_detections(
                scores[d], ious, areas[d], true_areas[g], is_crowd[g]
            )
        return matched


def _make_table(
    found: overlaps_lib.Overlaps,
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Returns the shared pixels of some predicted (rows) and true segments."""
    row_of = np.full(len(found.predicted_ids), -1)
    row_of[rows] = np.arange(len(rows))
    column_of = np.full(len(found.true_ids), -1)
    column_of[columns] = np.arange(len(columns))
    row, column = row_of[found.predicted_index], column_of[found.true_index]
    is_in = (row >= 0) & (column >= 0)
    table = np.zeros((len(rows), len(columns)), np.int64)
    table[row[is_in], column[is_in]] = found.areas[is_in]
    return table


def _mean_of_defined(values: npt.NDArray[np.float64]) -> float:
    defined = values[values > -1]
    return float(defined.mean()) if len(defined) else math.nan


def _make_cocoeval() -> Any:
    try:
        from pycocotools import cocoeval
    except ImportError as error:
        raise errors.InstallError(
            "Mask AP needs pycocotools, which is not installed. Install it "
            "with: pip install 'deeplab2_like[train]'"
        ) from error
    return cocoeval.COCOeval(iouType="segm")


def _to_cocoeval(
    matched: instance_matching.MatchedDetections | None, area: int
) -> dict[str, Any] | None:
    """Returns the entries of COCOeval.evaluateImg that are accumulated."""
    if matched is None:
        return None
    return {
        "dtScores": matched.scores,
        "dtMatches": matched.is_matched[area],
        "dtIgnore": matched.is_ignored[area],
        "gtIgnore": matched.true_is_ignored[area],
    }
