# SPDX-License-Identifier: Apache-2.0
"""Tables of the page: numbers as text, with what they are sorted by."""

import dataclasses
from collections.abc import Sequence

# For what is not defined; the reason goes with it.
DASH = "\u2013"
MINUS = "\u2212"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: What it shows.
        value: Number that it is sorted by; None for texts and dashes.
        reason: Why there is no number, for a dash.
        bar: Length of the bar behind the number, 0..1; None for none.
        tone: "better" or "worse" for differences, else "".
    """

    text: str
    value: float | None = None
    reason: str = ""
    bar: float | None = None
    tone: str = ""


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        title: Short title.
        help: What the numbers are; "" where the title says all.
        is_number: Whether it is aligned to the right and sorted by value.
    """

    title: str
    help: str = ""
    is_number: bool = True


@dataclasses.dataclass(frozen=True)
class Row:
    """One row; rows of totals stay on top when a table is sorted."""

    cells: tuple[Cell, ...]
    is_total: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        id: Identifier of the table in the page.
        caption: What it shows.
        columns: The columns; the first one names the rows.
        rows: The rows, each with a cell for each column.
    """

    id: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def totals(self) -> tuple[Row, ...]:
        """The rows that stay on top."""
        return tuple(row for row in self.rows if row.is_total)

    @property
    def others(self) -> tuple[Row, ...]:
        """The rows that are sorted."""
        return tuple(row for row in self.rows if not row.is_total)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The different reasons of its dashes."""
        found = {c.reason: None for r in self.rows for c in r.cells if c.reason}
        return tuple(found)


def name(text: str) -> Cell:
    """Returns a cell with a name."""
    return Cell(text)


def count(value: int | None, reason: str = "") -> Cell:
    """Returns a cell with a whole number; a dash for None."""
    if value is None:
        return Cell(DASH, reason=reason)
    return Cell(f"{value:,}".replace(",", "\u202f"), float(value))


def percent(
    value: float | None, reason: str = "", *, has_bar: bool = False
) -> Cell:
    """Returns a cell with a number of 0..1 as percent; a dash for None."""
    if value is None:
        return Cell(DASH, reason=reason)
    bar = min(max(value, 0.0), 1.0) if has_bar else None
    return Cell(format_percent(value), value, bar=bar)


def difference(
    value: float | None, other: float | None, reason: str = ""
) -> Cell:
    """Returns a cell with value - other in points; a dash without one."""
    if value is None or other is None:
        return Cell(DASH, reason=reason)
    points = 100 * (value - other)
    rounded = round(points, 1)
    tone = "better" if rounded > 0 else "worse" if rounded < 0 else ""
    return Cell(format_difference(value, other), points, tone=tone)


def format_percent(value: float | None) -> str:
    """Returns a number of 0..1 as percent with one decimal, or a dash."""
    return DASH if value is None else f"{100 * value:.1f}"


def format_difference(value: float, other: float) -> str:
    """Returns value - other in points, with its sign."""
    points = round(100 * (value - other), 1)
    if points == 0:
        return "0.0"
    return f"+{points:.1f}" if points > 0 else f"{MINUS}{-points:.1f}"


def format_count(value: int) -> str:
    """Returns a whole number, with thin spaces between thousands."""
    return count(value).text


def make_columns(*titles: str | tuple[str, str]) -> tuple[Column, ...]:
    """Makes the columns of a table, of which the first one has names.

    Args:
        *titles: Title of each column, or title and explanation.
    """
    pairs = [(t, "") if isinstance(t, str) else t for t in titles]
    return tuple(
        Column(title, explanation, is_number=index > 0)
        for index, (title, explanation) in enumerate(pairs)
    )


def make_rows(cells: Sequence[Sequence[Cell]]) -> tuple[Row, ...]:
    """Makes rows that are no totals."""
    return tuple(Row(tuple(row)) for row in cells)
