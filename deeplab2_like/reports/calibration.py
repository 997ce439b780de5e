# SPDX-License-Identifier: Apache-2.0
"""How well scores state the precision: tables and a sentence."""

from deeplab2_like.reports import tables
from deeplab2_like.reports.evaluation import Calibration, Reliability
from deeplab2_like.reports.tables import Cell, Row, Table

NO_PREDICTION = "nothing was predicted with such a score"


def make_bin_table(reliability: Reliability) -> Table:
    """Makes the table of intervals of scores."""
    rows = [
        Row(
            (
                tables.name("all"),
                *_calibration_cells(reliability.every),
            ),
            is_total=True,
        )
    ]
    for low, high, found in reliability.bins:
        rows.append(
            Row(
                (
                    Cell(f"{low:.1f} to {high:.1f}", low),
                    *_calibration_cells(found),
                )
            )
        )
    return Table(
        "reliability-bins",
        "Predicted things by their score.",
        tables.make_columns("Score", *_CALIBRATION_TITLES),
        tuple(rows),
    )


_CALIBRATION_TITLES = (
    ("Things", "Predicted things, without those on void and crowd"),
    ("Expected", "Mean score"),
    ("Observed", "Share that match a true thing, IoU above 0.5"),
    ("Difference", "Observed minus expected, in points"),
)


def _calibration_cells(found: Calibration) -> list[Cell]:
    return [
        tables.count(found.count),
        tables.percent(found.mean_score, NO_PREDICTION),
        tables.percent(found.precision, NO_PREDICTION, has_bar=True),
        # Neither sign is better.
        Cell(tables.DASH, reason=NO_PREDICTION)
        if found.precision is None or found.mean_score is None
        else Cell(
            tables.format_difference(found.precision, found.mean_score),
            100 * (found.precision - found.mean_score),
        ),
    ]


def make_class_table(reliability: Reliability) -> Table:
    """Makes the table of the reliability of each thing class."""
    reason = "no thing of the class was predicted"
    rows = [
        [
            tables.name(class_name),
            *_calibration_cells(found),
            tables.percent(found.ece, reason),
        ]
        for class_name, found in reliability.classes.items()
    ]
    return Table(
        "reliability-classes",
        "Predicted things by their class.",
        tables.make_columns(
            "Class",
            *_CALIBRATION_TITLES,
            ("ECE", "Expected calibration error"),
        ),
        tables.make_rows(rows),
    )


def describe(reliability: Reliability) -> str:
    """Returns a sentence on the scores of all things."""
    every = reliability.every
    if every.mean_score is None or every.precision is None:
        return "No thing was predicted, so that there are no scores."
    low, high = (
        tables.format_percent(value)
        for value in (every.mean_score, every.precision)
    )
    gap = round(100 * (every.precision - every.mean_score), 1)
    verdict = (
        "on average scores are too low"
        if gap > 0
        else "on average scores are too high"
        if gap < 0
        else "on average scores are right"
    )
    return (
        f"The mean score is {low} %, and {high} % of the "
        f"{tables.format_count(every.count)} predicted things are right: "
        f"{verdict}. The expected calibration error is "
        f"{tables.format_percent(every.ece)} %."
    )
