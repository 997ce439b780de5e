# SPDX-License-Identifier: Apache-2.0
"""The page about data: HTML text."""

import dataclasses

from deeplab2_like.reports import data_tables, frame, histograms, tables
from deeplab2_like.reports.data_check import (
    LEVELS,
    PROBLEM,
    WARNING,
    DataCheck,
    DataReport,
)

# Sizes beyond which a chart would be mere noise.
_MAX_DOTS = 400


@dataclasses.dataclass(frozen=True)
class Tile:
    """A main number.

    Attributes:
        title: Its name.
        text: The number.
        help: What it is.
        tone: "worse" for what needs attention, else "".
    """

    title: str
    text: str
    help: str
    tone: str = ""


def render(report: DataReport) -> str:
    """Returns the page about data as HTML text."""
    check = report.check
    return frame.render(
        "data_page.html",
        report=report,
        check=check,
        facts=_list_facts(check),
        tiles=_make_tiles(check),
        verdict=describe_verdict(check),
        levels=LEVELS,
        data_tables=data_tables,
        histograms=histograms,
        dots=check.sizes[:_MAX_DOTS],
    )


def _list_facts(check: DataCheck) -> list[tuple[str, str]]:
    read = "names and headers of all images" if check.is_quick else "all images"
    if check.num_good < check.num_images:
        read = f"{check.num_good} of {check.num_images} images"
    return [("Data", check.form), ("Read", read)]


def describe_verdict(check: DataCheck) -> str:
    """Says in a sentence whether there are problems."""
    counts = {level: check.count_level(level) for level in LEVELS}
    if counts[PROBLEM]:
        return (
            "There are problems: the data cannot be used before they are "
            "corrected."
        )
    if counts[WARNING]:
        return (
            "No problem was found. The warnings are worth a look before "
            "training."
        )
    if sum(counts.values()):
        return "No problem was found. What is listed is good to know."
    return "No problem was found, and nothing else that needs attention."


def _make_tiles(check: DataCheck) -> list[Tile]:
    num = tables.format_count
    splits = ", ".join(
        f"{num(split.images)} {split.name}" for split in check.splits
    )
    tiles = [Tile("Images", num(check.num_good), splits)]
    if check.has_labels:
        things = sum(one.is_thing for one in check.classes)
        pixels = sum(split.pixels for split in check.splits)
        void = sum(split.void_pixels for split in check.splits)
        tiles += [
            Tile(
                "Classes",
                num(len(check.classes)),
                f"{things} thing{'s' * (things != 1)}, "
                f"{len(check.classes) - things} stuff",
            ),
            Tile(
                "Objects",
                num(check.num_instances),
                f"{check.num_instances / max(1, check.num_good):.1f} an image",
            ),
            Tile(
                "Void",
                f"{tables.format_percent(void / max(1, pixels))} %",
                "pixels without a class",
            ),
        ]
    equal = sum(check.equal)
    near = "not looked for" if check.is_quick else f"{sum(check.near)} nearly"
    problems = sum(
        finding.count for finding in check.findings if finding.level == PROBLEM
    )
    warnings = check.count_level(WARNING)
    tiles += [
        Tile(
            "Duplicates",
            num(equal),
            f"equal images; {near}",
            "worse" if equal else "",
        ),
        Tile(
            "Problems",
            num(problems),
            "1 warning" if warnings == 1 else f"{num(warnings)} warnings",
            "worse" if problems else "",
        ),
    ]
    return tiles
