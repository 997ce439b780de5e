# SPDX-License-Identifier: Apache-2.0
"""Two evaluations side by side."""

import dataclasses
from collections.abc import Mapping

from deeplab2_like.reports import tables
from deeplab2_like.reports.evaluation import ClassScores, Evaluation
from deeplab2_like.reports.tables import Cell, Row, Table

_ONLY_ONE = "one of the runs does not have this number"
_NOT_LISTED = (
    "the image is not among the worst ones, which a run keeps the scores of"
)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Another evaluation to compare with.

    Attributes:
        name: Name of the other run.
        other: What it found.
        scores: Scores of this run, by name, for images that the other lists:
            PQ, or mean IoU without instances, in 0..1.
    """

    name: str
    other: Evaluation
    scores: Mapping[str, float | None]


def list_notes(this: Evaluation, comparison: Comparison) -> list[str]:
    """Lists what makes the two hard to compare, in sentences."""
    other = comparison.other
    notes = []
    for key, what in (
        ("data_set", "data sets"),
        ("file_pattern", "records"),
        ("pq_variant", "variants of PQ"),
    ):
        mine, theirs = this.facts.get(key), other.facts.get(key)
        if mine != theirs:
            notes.append(
                f"The {what} differ: {_show(mine)} here, {_show(theirs)} in "
                f"{comparison.name}."
            )
    if this.num_images != other.num_images:
        notes.append(
            f"The numbers of images differ: {this.num_images} here, "
            f"{other.num_images} in {comparison.name}."
        )
    if this.has_instances != other.has_instances:
        notes.append(
            "Only one of the systems predicts instances: PQ and AP cannot be "
            "compared, and images are compared by their mean IoU."
        )
    return notes


def _show(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return "unknown" if value is None else str(value)


def make_class_table(this: Evaluation, comparison: Comparison) -> Table:
    """Makes the table of groups and classes, this run beside the other."""
    other = comparison.other
    rows = []
    for group in ("all", "things", "stuff"):
        if group != "all" and group not in {**this.groups, **other.groups}:
            continue
        pairs = [
            tuple(
                quality.pq if quality else None
                for quality in (this.groups.get(group), other.groups.get(group))
            ),
            (this.miou, other.miou) if group == "all" else (None, None),
            tuple(
                run.average_precision.get("AP") if group != "stuff" else None
                for run in (this, other)
            ),
        ]
        cells = [tables.name(group)]
        for pair in pairs:
            cells += _compare(pair[0], pair[1])
        rows.append(Row(tuple(cells), is_total=True))
    theirs = {scores.name: scores for scores in other.classes}
    mine = {scores.name: scores for scores in this.classes}
    for class_name in dict.fromkeys([*mine, *theirs]):
        cells = [tables.name(class_name)]
        for index in range(3):
            cells += _compare(
                _numbers(mine.get(class_name))[index],
                _numbers(theirs.get(class_name))[index],
            )
        rows.append(Row(tuple(cells)))
    titles: list[str | tuple[str, str]] = ["Class"]
    for number in ("PQ", "IoU", "AP"):
        titles += [
            (number, f"{number} of this run"),
            (f"{number} other", f"{number} of {comparison.name}"),
            (f"\u0394 {number}", "This run minus the other, in points"),
        ]
    return Table(
        "compared-classes",
        f"This run and {comparison.name}, by class.",
        tables.make_columns(*titles),
        tuple(rows),
    )


def _numbers(
    scores: ClassScores | None,
) -> tuple[float | None, float | None, float | None]:
    if scores is None:
        return None, None, None
    quality = scores.quality
    return quality.pq if quality else None, scores.iou, scores.ap


def _compare(mine: float | None, theirs: float | None) -> list[Cell]:
    reason = _ONLY_ONE
    if mine is None and theirs is None:
        reason = "neither run has this number"
    return [
        tables.percent(mine, reason),
        tables.percent(theirs, reason),
        tables.difference(mine, theirs, reason),
    ]


def make_image_table(this: Evaluation, comparison: Comparison) -> Table:
    """Makes the table of the images that either run lists."""
    both = this.has_instances and comparison.other.has_instances
    mine = {
        image.name: image.score if both else image.miou for image in this.images
    } | dict(comparison.scores)
    theirs = {
        image.name: image.score if both else image.miou
        for image in comparison.other.images
    }
    rows = []
    for image_name in dict.fromkeys([*mine, *theirs]):
        pair = mine.get(image_name), theirs.get(image_name)
        rows.append(
            [
                tables.name(image_name),
                *(tables.percent(value, _NOT_LISTED) for value in pair),
                tables.difference(*pair, _NOT_LISTED),
            ]
        )
    # What became worse most comes first, what cannot be compared last.
    rows.sort(key=lambda row: (row[3].value is None, row[3].value or 0.0))
    number = "PQ" if both else "mIoU"
    return Table(
        "compared-images",
        f"This run and {comparison.name}, by image: the images that either "
        "lists among its worst.",
        tables.make_columns(
            "Image",
            (number, f"{number} of this run"),
            (f"{number} other", f"{number} of {comparison.name}"),
            (f"\u0394 {number}", "This run minus the other, in points"),
        ),
        tables.make_rows(rows),
    )
