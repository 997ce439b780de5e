# SPDX-License-Identifier: Apache-2.0
"""What a check of data prints."""

import rich.console
import rich.table

from deeplab2_like.reports.data_check import (
    NOTE,
    PROBLEM,
    DataCheck,
    Finding,
)

_EXAMPLES = 3
_NAMES = 8
_MAX_CLASSES = 100


def print_check(check: DataCheck) -> None:
    """Prints numbers, and findings that are no problems.

    Args:
        check: What was found.
    """
    console = rich.console.Console(highlight=False, markup=False)
    for line in describe(check):
        console.print(line, soft_wrap=True)
    if check.classes:
        console.print(_make_table(check))
    for finding in check.findings:
        if finding.level != PROBLEM:
            console.print(describe_finding(finding), soft_wrap=True)


def describe(check: DataCheck) -> list[str]:
    """Describes the images in a few lines."""
    splits = ", ".join(f"{s.images} {s.name}" for s in check.splits)
    lines = [f"Images    {check.num_good} of {check.num_images} ({splits})"]
    if check.sizes:
        heights = [height for height, _, _ in check.sizes]
        widths = [width for _, width, _ in check.sizes]
        lines.append(
            f"Sizes     {min(heights)} to {max(heights)} high, {min(widths)} "
            f"to {max(widths)} wide, {len(check.sizes)} sizes"
        )
    if check.has_labels:
        pixels = sum(split.pixels for split in check.splits)
        void = sum(split.void_pixels for split in check.splits)
        crowds = sum(split.crowds for split in check.splits)
        most = max((n for n, _ in check.instances_per_image), default=0)
        lines.append(
            f"Objects   {check.num_instances}, at most {most} in an image, "
            f"{crowds} crowds; {100 * void / max(1, pixels):.1f} % of the "
            "pixels have no label"
        )
    return lines


def describe_finding(finding: Finding) -> str:
    """Describes a finding: its title, what to do, and examples."""
    text = f"{finding.level}: {finding.title}"
    if finding.level != NOTE and finding.advice:
        text += f" {finding.advice}"
    shown = finding.examples[:_EXAMPLES]
    between = "\n  "
    if finding.has_names:
        shown, between = finding.examples[:_NAMES], ", "
    if not shown:
        return text
    text += "\n  " + between.join(shown)
    more = finding.count - len(shown)
    return f"{text} and {more} more" if more > 0 else text


def _make_table(check: DataCheck) -> rich.table.Table:
    table = rich.table.Table("class", "kind")
    for title in ("% of pixels", "images", "objects"):
        table.add_column(title, justify="right")
    total = max(1, sum(sum(one.pixels) for one in check.classes))
    for one in check.classes[:_MAX_CLASSES]:
        table.add_row(
            one.name if one.name.isprintable() else repr(one.name),
            "thing" if one.is_thing else "stuff",
            f"{100 * sum(one.pixels) / total:.2f}",
            " + ".join(map(str, one.images)),
            " + ".join(map(str, one.instances)) if one.is_thing else "",
        )
    more = len(check.classes) - _MAX_CLASSES
    if more > 0:
        table.add_row(f"and {more} more", "", "", "", "")
    return table
