# SPDX-License-Identifier: Apache-2.0
"""Panoptic qualities of all classes, of things, of stuff and of each class."""

import dataclasses
import math
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors


@dataclasses.dataclass(frozen=True)
class GroupQuality:
    """The qualities of a group of classes: means over its classes.

    Attributes:
        pq: Panoptic quality in 0..1; NaN if `num_classes` is 0, as are `sq`
            and `rq`.
        sq: Segmentation quality: mean IoU of the matches.
        rq: Recognition quality: the F1 score of the segments.
        num_classes: Classes that occur in the ground truth or predictions.
        tp: Matched segments of all classes.
        fp: Predicted segments without a match.
        fn: True segments without a match.
    """

    pq: float
    sq: float
    rq: float
    num_classes: int
    tp: int
    fp: int
    fn: int


@dataclasses.dataclass(frozen=True)
class ClassQuality:
    """The quality of one class; NaN where the class does not occur.

    Attributes:
        class_id: Class index, or category id where files were compared.
        name: Name of the class, or its id as text.
        is_thing: Whether its segments are instances.
        pq: Panoptic quality in 0..1.
        sq: Mean IoU of its matches; 0 if there are none.
        rq: F1 score of its segments.
        iou_sum: Sum of the IoU of its matches.
        tp: Matched segments.
        fp: Predicted segments without a match.
        fn: True segments without a match.
    """

    class_id: int
    name: str
    is_thing: bool
    pq: float
    sq: float
    rq: float
    iou_sum: float
    tp: int
    fp: int
    fn: int


@dataclasses.dataclass(frozen=True)
class PanopticQualityResult:
    """The panoptic qualities of a set of images.

    Attributes:
        all: Means over all classes.
        things: Means over the thing classes.
        stuff: Means over the stuff classes.
        per_class: Every class, in the order of the class indices.
        num_images: Images that were compared.
        warnings: Sentences about groups without a value and doubtful data.
    """

    all: GroupQuality
    things: GroupQuality
    stuff: GroupQuality
    per_class: tuple[ClassQuality, ...]
    num_images: int
    warnings: tuple[str, ...] = ()

    def scalars(self) -> dict[str, float]:
        """Returns the nine main numbers by name, NaN included."""
        groups = {"": self.all, "_things": self.things, "_stuff": self.stuff}
        return {
            f"{name}{suffix}": getattr(group, name.lower())
            for suffix, group in groups.items()
            for name in ("PQ", "SQ", "RQ")
        }

    def table(self) -> str:
        """Returns the groups and the classes that occur as a text table."""
        width = max([20, *(len(c.name) for c in self.per_class)])
        head = f"{'':{width}}     PQ     SQ     RQ      TP     FP     FN"
        lines = [head]
        groups = (("all", self.all), ("things", self.things))
        for name, group in (*groups, ("stuff", self.stuff)):
            label = f"{name} ({group.num_classes} classes)"
            lines.append(_format_row(label, width, group))
        lines.append("")
        lines.extend(
            _format_row(quality.name, width, quality)
            for quality in self.per_class
            if quality.tp + quality.fp + quality.fn
        )
        return "\n".join(lines)


def _format_row(
    label: str, width: int, quality: GroupQuality | ClassQuality
) -> str:
    values = (quality.pq, quality.sq, quality.rq)
    percents = "".join(
        f"{'-' if math.isnan(v) else format(100 * v, '.2f'):>7}" for v in values
    )
    counts = f"{quality.tp:8d}{quality.fp:7d}{quality.fn:7d}"
    return f"{label:{width}}{percents}{counts}"


def summarize(
    counts: npt.NDArray[np.float64],
    *,
    class_ids: Sequence[int],
    names: Sequence[str],
    is_thing: Sequence[bool],
    num_images: int,
    warnings: Sequence[str] = (),
) -> PanopticQualityResult:
    """Computes the qualities from the summed counts of all images.

    Args:
        counts: float64 [4, C], sums of the results of `count_matches`.
        class_ids: C class ids.
        names: C names.
        is_thing: C values, whether the class is a thing class.
        num_images: Number of images that were compared.
        warnings: Sentences to put before those about empty groups.

    Raises:
        DataError: A class has a quality outside of 0..1.
    """
    per_class = tuple(
        _compute_class_quality(
            counts[:, i], class_ids[i], names[i], is_thing[i]
        )
        for i in range(counts.shape[1])
    )
    things = _average([c for c in per_class if c.is_thing])
    stuff = _average([c for c in per_class if not c.is_thing])
    every = _average(per_class)
    found = [*warnings]
    if every.num_classes == 0:
        found.append(
            "No class occurs in the ground truth or the predictions: PQ, SQ "
            "and RQ are not defined (NaN)."
        )
    else:
        for name, group in (("thing", things), ("stuff", stuff)):
            if group.num_classes == 0 and any(
                c.is_thing == (name == "thing") for c in per_class
            ):
                found.append(
                    f"No {name} class occurs in the ground truth or the "
                    f"predictions: its PQ, SQ and RQ are not defined (NaN)."
                )
    return PanopticQualityResult(
        every, things, stuff, per_class, num_images, tuple(found)
    )


def _compute_class_quality(
    counts: npt.NDArray[np.float64], class_id: int, name: str, is_thing: bool
) -> ClassQuality:
    iou_sum = float(counts[0])
    tp, fp, fn = (int(value) for value in counts[1:])
    if tp + fp + fn == 0:
        nan = math.nan
        return ClassQuality(
            class_id, name, is_thing, nan, nan, nan, 0.0, 0, 0, 0
        )
    sq = iou_sum / tp if tp else 0.0
    rq = tp / (tp + 0.5 * fp + 0.5 * fn)
    pq = iou_sum / (tp + 0.5 * fp + 0.5 * fn)
    in_range = all(0.0 <= value <= 1.0 + 1e-9 for value in (pq, sq, rq))
    if not in_range or not math.isclose(pq, sq * rq, abs_tol=1e-9):
        raise errors.DataError(
            f"Class {name} ({class_id}) has PQ {pq}, SQ {sq}, RQ {rq} from "
            f"an IoU sum of {iou_sum}, {tp} true positives, {fp} false "
            f"positives, {fn} false negatives. They must lie in 0..1: the "
            "counts do not belong together."
        )
    return ClassQuality(
        class_id, name, is_thing, pq, sq, rq, iou_sum, tp, fp, fn
    )


def _average(qualities: Collection[ClassQuality]) -> GroupQuality:
    present = [c for c in qualities if c.tp + c.fp + c.fn]
    n = len(present)

    def mean(name: str) -> float:
        if not n:
            return math.nan
        return math.fsum(getattr(c, name) for c in present) / n

    return GroupQuality(
        pq=mean("pq"),
        sq=mean("sq"),
        rq=mean("rq"),
        num_classes=n,
        tp=sum(c.tp for c in present),
        fp=sum(c.fp for c in present),
        fn=sum(c.fn for c in present),
    )
