# SPDX-License-Identifier: Apache-2.0
"""Which classes are taken for which: frequent pairs, and a heat map."""

import dataclasses

from deeplab2_like.reports import tables
from deeplab2_like.reports.evaluation import Evaluation
from deeplab2_like.reports.tables import Table

# Classes of the heat map, and pairs of the list, at most.
_MAX_CONFUSED = 30
_MAX_PAIRS = 20


def make_pair_table(evaluation: Evaluation) -> Table:
    """Makes the table of the most frequent confusions."""
    confusion = evaluation.confusion
    pairs = []
    for row, true in enumerate(confusion.true_classes):
        total = sum(confusion.pixels[row])
        for column, predicted in enumerate(confusion.predicted_classes):
            pixels = confusion.pixels[row][column]
            if row != column and pixels:
                pairs.append((pixels, true, predicted, total))
    pairs.sort(key=lambda pair: -pair[0])
    wrong = sum(pair[0] for pair in pairs)
    rows = [
        [
            tables.name(true),
            tables.name(predicted),
            tables.count(pixels),
            tables.percent(pixels / total, has_bar=True),
            tables.percent(pixels / wrong, has_bar=True),
        ]
        for pixels, true, predicted, total in pairs[:_MAX_PAIRS]
    ]
    columns = list(
        tables.make_columns(
            "True class",
            "Predicted as",
            "Pixels",
            ("Of class", "Share of the pixels of the true class"),
            ("Of errors", "Share of all wrong pixels"),
        )
    )
    columns[1] = tables.Column("Predicted as", is_number=False)
    return Table(
        "confused-pairs",
        f"The {len(rows)} most frequent confusions of pixels.",
        tuple(columns),
        tables.make_rows(rows),
    )


def choose_confused(evaluation: Evaluation) -> tuple[list[int], int]:
    """Chooses the classes of the heat map, in their order.

    Returns:
        Indices of classes that have pixels, true or predicted: those with the
        most wrong pixels if there are many. And how many are left out.
    """
    pixels = evaluation.confusion.pixels
    present = []
    for index, row in enumerate(pixels):
        predicted = sum(other[index] for other in pixels)
        if sum(row) + predicted:
            wrong = sum(row) + predicted - 2 * row[index]
            present.append((wrong, index))
    present.sort(key=lambda pair: -pair[0])
    chosen = sorted(index for _, index in present[:_MAX_CONFUSED])
    return chosen, len(present) - len(chosen)


@dataclasses.dataclass(frozen=True)
class HeatRow:
    """A true class of the heat map.

    Attributes:
        name: Name of the class.
        pixels: Its pixels.
        cells: For each column: share of the pixels in 0..1, the text that is
            shown, what it says in words, and whether it is the right class.
    """

    name: str
    pixels: str
    cells: tuple[tuple[float, str, str, bool], ...]


@dataclasses.dataclass(frozen=True)
class HeatMap:
    """Shares of the pixels of true classes by predicted class.

    Attributes:
        columns: Names of the predicted classes.
        rows: The true classes.
        num_hidden: Classes that are left out, those with the fewest errors.
    """

    columns: tuple[str, ...]
    rows: tuple[HeatRow, ...]
    num_hidden: int


def make_heat_map(evaluation: Evaluation) -> HeatMap:
    """Makes the heat map; the last columns are other classes and void."""
    confusion = evaluation.confusion
    chosen, num_hidden = choose_confused(evaluation)
    names = confusion.predicted_classes
    columns = [*(names[c] for c in chosen)]
    hidden = [c for c in range(len(names) - 1) if c not in chosen]
    if num_hidden:
        columns.append("others")
    columns.append(names[-1])
    rows = []
    for index in chosen:
        pixels = confusion.pixels[index]
        total = sum(pixels)
        counts = [pixels[c] for c in chosen]
        if num_hidden:
            counts.append(sum(pixels[c] for c in hidden))
        counts.append(pixels[-1])
        true = confusion.true_classes[index]
        cells = []
        for place, (count, column) in enumerate(
            zip(counts, columns, strict=True)
        ):
            share = count / total if total else 0.0
            words = (
                f"{tables.format_count(count)} of {tables.format_count(total)} "
                f"pixels of {true} are predicted as {column}"
            )
            is_right = place < len(chosen) and chosen[place] == index
            cells.append((share, _format_share(count, total), words, is_right))
        rows.append(HeatRow(true, tables.format_count(total), tuple(cells)))
    return HeatMap(tuple(columns), tuple(rows), num_hidden)


def _format_share(count: int, total: int) -> str:
    if not count:
        return ""
    percent = 100 * count / total
    return f"{percent:.0f}" if percent >= 1 else "<1"
