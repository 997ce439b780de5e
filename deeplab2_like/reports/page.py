# SPDX-License-Identifier: Apache-2.0
"""The page of a report of an evaluation: HTML text."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from deeplab2_like.reports import (
    calibration,
    comparison,
    confusion,
    figures,
    frame,
    sections,
    tables,
)
from deeplab2_like.reports.evaluation import Evaluation
from deeplab2_like.reports.report import Report


@dataclasses.dataclass(frozen=True)
class Tile:
    """A main number.

    Attributes:
        title: Its name.
        help: What it is.
        cell: The number.
        change: Difference from the other run; None without one.
    """

    title: str
    help: str
    cell: tables.Cell
    change: tables.Cell | None


def render(report: Report) -> str:
    """Returns the page of a report as HTML text."""
    evaluation = report.evaluation
    return frame.render(
        "page.html",
        report=report,
        evaluation=evaluation,
        facts=_list_facts(report),
        tiles=_make_tiles(report),
        sizes=_make_sizes(evaluation),
        sections=sections,
        calibration=calibration,
        comparison=comparison,
        confusion=confusion,
        figures=figures,
    )


def _list_facts(report: Report) -> list[tuple[str, str]]:
    """Lists what was evaluated."""
    evaluation = report.evaluation
    facts = evaluation.facts
    listed = [
        ("Config", facts.get("experiment")),
        ("Step", facts.get("step")),
        ("Checkpoint", facts.get("checkpoint")),
        ("Data set", facts.get("data_set")),
        ("Images", tables.format_count(evaluation.num_images)),
        ("Records", facts.get("file_pattern")),
        ("Variant of PQ", facts.get("pq_variant")),
        ("Versions", facts.get("versions")),
    ]
    if report.compared is not None:
        step = report.compared.other.facts.get("step", "unknown")
        other = f"{report.compared.name}, step {step}"
        listed.append(("Compared with", other))
    return [(key, _show(value)) for key, value in listed if value]


def _show(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return str(value)


def _make_tiles(report: Report) -> list[Tile]:
    other = report.compared.other if report.compared else None
    mine = _main_numbers(report.evaluation)
    theirs = _main_numbers(other) if other else {}
    tiles = []
    for title, (explanation, value, reason) in mine.items():
        change = None
        if other is not None:
            another = theirs[title][1] if title in theirs else None
            change = tables.difference(
                value, another, "one of the runs does not have this number"
            )
        cell = tables.percent(value, reason)
        tiles.append(Tile(title, explanation, cell, change))
    return tiles


def _main_numbers(
    evaluation: Evaluation,
) -> dict[str, tuple[str, float | None, str]]:
    """Returns explanation, value and the reason for a dash of each number."""
    numbers: dict[str, tuple[str, float | None, str]] = {}
    quality = evaluation.groups.get("all")
    if quality is not None:
        reason = "no class occurs"
        numbers["PQ"] = "panoptic quality", quality.pq, reason
        numbers["SQ"] = "segmentation quality", quality.sq, reason
        numbers["RQ"] = "recognition quality", quality.rq, reason
        for group in ("things", "stuff"):
            number = evaluation.groups[group].num_classes
            numbers[f"PQ {group}"] = (
                f"{number} class{'es' * (number != 1)}",
                evaluation.groups[group].pq,
                f"no {group} class occurs",
            )
    numbers["mIoU"] = "mean IoU of classes", evaluation.miou, "no class occurs"
    if quality is not None:
        numbers["AP"] = (
            "COCO's mask AP",
            evaluation.average_precision.get("AP"),
            sections.NO_TRUE_THING,
        )
    numbers["Accuracy"] = (
        "pixels of the right class",
        evaluation.pixel_accuracy,
        "no pixel is labeled",
    )
    return numbers


def _make_sizes(
    evaluation: Evaluation,
) -> list[tuple[str, Any, tables.Table, tables.Table]]:
    """Returns heading, chart and both tables of each choice of limits."""
    made = []
    for key, heading, ranges, precisions in (
        (
            "coco-sizes",
            "COCO\u2019s limits",
            evaluation.coco_sizes,
            evaluation.average_precision,
        ),
        ("own-sizes", "Thirds of this data set", evaluation.own_sizes, None),
    ):
        if not ranges:
            continue
        words = (
            heading[0].lower() + heading[1:]
            if key == "own-sizes"
            else (heading)
        )
        chart = figures.draw_bars(
            f"PQ of things by area, {words}",
            [(sections.describe_range(r), r.quality.pq) for r in ranges],
        )
        made.append(
            (
                heading,
                chart,
                sections.make_size_table(
                    ranges, key, f"Things by area, {words}.", precisions
                ),
                sections.make_class_size_table(
                    ranges, f"{key}-classes", f"PQ by class and area, {words}."
                ),
            )
        )
    return made
