# SPDX-License-Identifier: Apache-2.0
"""The tables of `semi_supervised`: scores of methods, and of pseudo labels."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import semi_supervised_data as data_lib
from benchmarks.semi_supervised_runs import METHODS

# Title of a score -> its name in the results of an evaluation.
SCORES = {
    "PQ": "evaluation/pq/PQ",
    "things": "evaluation/pq/PQ_things",
    "mIoU": "evaluation/iou/IoU",
}


def format_percent(value: float | None) -> str:
    """Returns a share as percent; "-" for None."""
    return "-" if value is None else f"{100 * value:.1f}"


def make_table(
    results: Mapping[tuple[str, str, int], Sequence[Mapping[str, Any]]],
) -> list[str]:
    """Makes the Markdown table of the scores.

    Args:
        results: Scores in 0..1, minutes and steps of the seeds, by method,
            start and number of labelled images.

    Returns:
        The lines: mean and spread (least to most) over seeds.
    """
    lines = [
        "| labels | start | method | seeds | PQ | things | mIoU | steps of a"
        " network | minutes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (method, start, labelled), seeds in results.items():
        cells = [str(labelled or "all"), start, METHODS[method][0]]
        cells.append(str(len(seeds)))
        for key in SCORES:
            values = [one[key] for one in seeds if one[key] is not None]
            if not values:
                cells.append("-")
                continue
            least, most = (format_percent(one(values)) for one in (min, max))
            mean = format_percent(statistics.mean(values))
            cells.append(f"{mean} ({least} to {most})")
        cells.append(str(seeds[0]["steps"]))
        minutes = statistics.mean(one["minutes"] for one in seeds)
        cells.append(f"{minutes:.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def make_label_table(
    found: Mapping[tuple[str, str, int, int], Mapping[str, Any]],
) -> list[str]:
    """Makes the Markdown table of the quality of pseudo labels.

    Args:
        found: `LabelQuality` as plain values, by method, start, number of
            labelled images and round.

    Returns:
        The lines; a cell for each bin of probability has the share of the
        pixels and how many of them are right.
    """
    ends = (*data_lib.BINS[1:], 1.0)
    bins = [
        f"{low:g} to {high:g}"
        for low, high in zip(data_lib.BINS, ends, strict=True)
    ]
    lines = [
        f"| labels | start | method | round | images | PQ | things | mIoU |"
        f" {' | '.join(bins)} |",
        "|---" * (8 + len(bins)) + "|",
    ]
    for (method, start, labelled, number), one in found.items():
        scores = one["summaries"]
        cells = [
            str(labelled or "all"),
            start,
            METHODS[method][0],
            str(number),
            str(one["num_images"]),
            *(
                format_percent(scores.get(k))
                for k in ("PQ", "PQ_things", "mIoU")
            ),
        ]
        for share, right in zip(one["shares"], one["accuracies"], strict=True):
            pixels = format_percent(share)
            cells.append(f"{pixels} % of pixels, {format_percent(right)} %")
        lines.append(f"| {' | '.join(cells)} |")
    return lines
