# SPDX-License-Identifier: Apache-2.0
"""The tables of a report that need one evaluation only."""

from collections.abc import Mapping, Sequence

from deeplab2_like.reports import tables
from deeplab2_like.reports.evaluation import (
    Evaluation,
    Oracle,
    Quality,
    SizeRange,
)
from deeplab2_like.reports.tables import Cell, Row, Table

NO_INSTANCES = "the system predicts no instances"
NO_SUCH_CLASS = "the class occurs neither in the truth nor in the predictions"
NO_TRUE_THING = "no such thing occurs in the truth"
NO_STUFF_AP = "AP is defined for things only"
NO_GROUP_NUMBER = "this number has no mean over a group"
NO_THING_HERE = "no such thing is true or predicted"

_SIZE_NAMES = ("small", "medium", "large")
_PART_NAMES = {
    "semantic": "classes",
    "centers": "centers",
    "offsets": "offsets",
}


def make_class_table(evaluation: Evaluation) -> Table:
    """Makes the table of groups and classes."""
    ap = evaluation.average_precision.get("AP")
    groups = {
        "all": (evaluation.miou, ap),
        "things": (None, ap),
        "stuff": (None, None),
    }
    rows = []
    for group, (iou, precision) in groups.items():
        quality = evaluation.groups.get(group)
        if quality is None and group != "all":
            continue
        label = group if quality is None else f"{group} ({quality.num_classes})"
        cells = [
            tables.name(label),
            tables.name(""),
            *_quality_cells(quality, NO_SUCH_CLASS),
            tables.percent(iou, NO_GROUP_NUMBER, has_bar=True),
            tables.percent(
                precision,
                _why_no_ap(evaluation, group != "stuff"),
                has_bar=True,
            ),
            *_count_cells(quality),
        ]
        rows.append(Row(tuple(cells), is_total=True))
    for scores in evaluation.classes:
        cells = [
            tables.name(scores.name),
            tables.name("thing" if scores.is_thing else "stuff"),
            *_quality_cells(scores.quality, NO_SUCH_CLASS),
            tables.percent(scores.iou, NO_SUCH_CLASS, has_bar=True),
            tables.percent(
                scores.ap,
                _why_no_ap(evaluation, scores.is_thing),
                has_bar=True,
            ),
            *_count_cells(scores.quality),
        ]
        rows.append(Row(tuple(cells)))
    columns = list(
        tables.make_columns(
            "Class",
            "Kind",
            ("PQ", "Panoptic quality, SQ x RQ"),
            ("SQ", "Segmentation quality: mean IoU of the matches"),
            ("RQ", "Recognition quality: F1 score of the segments"),
            ("IoU", "Intersection over union of the pixels"),
            ("AP", "COCO's mask average precision"),
            ("TP", "Matched segments"),
            ("FP", "Predicted segments without a match"),
            ("FN", "True segments without a match"),
        )
    )
    columns[1] = tables.Column("Kind", is_number=False)
    return Table(
        "classes",
        "Quality by class, in percent, and counts of segments.",
        tuple(columns),
        tuple(rows),
    )


def _why_no_ap(evaluation: Evaluation, is_thing: bool) -> str:
    if not evaluation.has_instances:
        return NO_INSTANCES
    return NO_TRUE_THING if is_thing else NO_STUFF_AP


def _quality_cells(quality: Quality | None, reason: str) -> list[Cell]:
    if quality is None:
        return [tables.percent(None, NO_INSTANCES)] * 3
    return [
        tables.percent(value, reason, has_bar=True)
        for value in (quality.pq, quality.sq, quality.rq)
    ]


def _count_cells(quality: Quality | None) -> list[Cell]:
    if quality is None:
        return [tables.count(None, NO_INSTANCES)] * 3
    return [tables.count(n) for n in (quality.tp, quality.fp, quality.fn)]


def describe_range(found: SizeRange) -> str:
    """Returns the areas of a range as text."""
    low = tables.format_count(found.lowest)
    if found.below is None:
        return f"{low} pixels or more"
    high = tables.format_count(found.below)
    return f"below {high} pixels" if not found.lowest else f"{low} to {high}"


def make_size_table(
    ranges: Sequence[SizeRange],
    table_id: str,
    caption: str,
    precisions: Mapping[str, float | None] | None = None,
) -> Table:
    """Makes the table of ranges of areas.

    Args:
        ranges: Small, medium and large things.
        table_id: Identifier in the page.
        caption: What the ranges are.
        precisions: COCO's AP by name, for its own ranges; None for no column.
    """
    rows = []
    for size, found in zip(_SIZE_NAMES, ranges, strict=True):
        quality = found.quality
        true = quality.tp + quality.fn
        cells = [
            tables.name(f"{size}: {describe_range(found)}"),
            tables.count(true),
            *_quality_cells(quality, NO_THING_HERE),
            tables.percent(quality.tp / true if true else None, NO_TRUE_THING),
        ]
        if precisions is not None:
            cells.append(
                tables.percent(precisions.get(f"AP_{size}"), NO_TRUE_THING)
            )
        rows.append(Row((*cells, *_count_cells(quality))))
    titles: list[str | tuple[str, str]] = [
        "Area",
        ("True", "True things of these areas"),
        ("PQ", "Mean over the thing classes"),
        "SQ",
        "RQ",
        ("Found", "Share of the true things that are matched"),
    ]
    if precisions is not None:
        titles.append(("AP", "COCO's mask AP of these areas"))
    titles += ["TP", "FP", "FN"]
    return Table(table_id, caption, tables.make_columns(*titles), tuple(rows))


def make_class_size_table(
    ranges: Sequence[SizeRange], table_id: str, caption: str
) -> Table:
    """Makes the table of PQ of each thing class by size."""
    rows = []
    for class_name in ranges[0].classes:
        cells = [tables.name(class_name)]
        for found in ranges:
            quality = found.classes[class_name]
            cells += [
                tables.percent(quality.pq, NO_THING_HERE, has_bar=True),
                tables.count(quality.tp + quality.fn),
            ]
        rows.append(cells)
    titles: list[str | tuple[str, str]] = ["Class"]
    for size in _SIZE_NAMES:
        titles += [f"PQ {size}", (f"True {size}", "True things")]
    return Table(
        table_id,
        caption,
        tables.make_columns(*titles),
        tables.make_rows(rows),
    )


def describe_oracle(oracle: Oracle) -> str:
    """Returns the name of an oracle's row."""
    names = [_PART_NAMES.get(part, part) for part in oracle.true_parts]
    if not names:
        return "prediction"
    if len(names) == 1:
        return f"true {names[0]}"
    return f"true {', '.join(names[:-1])} and {names[-1]}"


def make_oracle_table(oracles: Sequence[Oracle]) -> Table:
    """Makes the table of the quality with true maps."""
    base = oracles[0].groups["all"].pq
    rows = []
    for oracle in oracles:
        groups = oracle.groups
        cells = [
            tables.name(describe_oracle(oracle)),
            tables.percent(groups["all"].pq, NO_SUCH_CLASS, has_bar=True),
            tables.difference(groups["all"].pq, base, NO_SUCH_CLASS)
            if oracle.true_parts
            else Cell(tables.DASH, reason="this is what the others gain on"),
            tables.percent(groups["things"].pq, NO_SUCH_CLASS, has_bar=True),
            tables.percent(groups["stuff"].pq, NO_SUCH_CLASS, has_bar=True),
            tables.percent(groups["all"].sq, NO_SUCH_CLASS),
            tables.percent(groups["all"].rq, NO_SUCH_CLASS),
        ]
        rows.append(cells)
    return Table(
        "oracles",
        "PQ with true maps in place of predicted ones.",
        tables.make_columns(
            "Maps",
            "PQ",
            ("Gain", "Points of PQ more than the prediction"),
            "PQ things",
            "PQ stuff",
            "SQ",
            "RQ",
        ),
        tables.make_rows(rows),
    )


def list_oracle_bars(
    oracles: Sequence[Oracle],
) -> list[tuple[str, float | None]]:
    """Returns label and PQ of each oracle, for a chart."""
    return [(describe_oracle(o), o.groups["all"].pq) for o in oracles]


def describe_limit(oracles: Sequence[Oracle]) -> str:
    """Returns a sentence that states which true map would gain most."""
    base = oracles[0].groups["all"].pq
    single = [
        (oracle.groups["all"].pq, oracle)
        for oracle in oracles
        if len(oracle.true_parts) == 1
    ]
    known = [(pq, oracle) for pq, oracle in single if pq is not None]
    if base is None or not known:
        return "PQ is not defined: no class occurs."
    pq, best = max(known, key=lambda pair: pair[0])
    part = _PART_NAMES.get(best.true_parts[0], best.true_parts[0])
    if pq <= base:
        return "No single true map gives a higher PQ than the predicted ones."
    return (
        f"The predicted {part} limit this model most: with true {part} PQ is "
        f"{tables.format_percent(pq)}, "
        f"{tables.format_difference(pq, base)} points."
    )


def make_image_table(evaluation: Evaluation) -> Table:
    """Makes the table of the worst images."""
    rows = [
        [
            tables.name(image.name),
            *(
                [*_quality_cells(image.quality, NO_SUCH_CLASS)]
                if evaluation.has_instances
                else []
            ),
            tables.percent(image.miou, "no pixel is labeled", has_bar=True),
            *(_count_cells(image.quality) if evaluation.has_instances else []),
        ]
        for image in evaluation.images
    ]
    titles = (
        ("Image", "PQ", "SQ", "RQ", "mIoU", "TP", "FP", "FN")
        if evaluation.has_instances
        else ("Image", "mIoU")
    )
    return Table(
        "images",
        f"The {len(rows)} images of the lowest scores.",
        tables.make_columns(*titles),
        tables.make_rows(rows),
    )
