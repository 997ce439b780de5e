# SPDX-License-Identifier: Apache-2.0
"""Charts as SVG elements; their colors are classes of page.css."""

from collections.abc import Sequence

from markupsafe import Markup

from deeplab2_like.reports import tables
from deeplab2_like.reports.evaluation import Reliability

# Units of the drawings are pixels of a narrow screen.
WIDTH = 340
_BAR_HEIGHT = 16
_ROW_HEIGHT = 40


def draw_bars(
    title: str, bars: Sequence[tuple[str, float | None]], maximum: float = 1.0
) -> Markup:
    """Draws horizontal bars, each below its label.

    Args:
        title: What the chart shows, for readers that do not see it.
        bars: Label and value of each, None for a dash.
        maximum: Value of the longest possible bar.
    """
    room = WIDTH - 48
    parts = []
    for index, (label, value) in enumerate(bars):
        top = index * _ROW_HEIGHT
        length = room * min(max((value or 0.0) / maximum, 0.0), 1.0)
        parts.append(
            Markup(
                '<text class="label" x="0" y="{}">{}</text>'
                '<rect class="track" x="0" y="{}" width="{}" height="{}" '
                'rx="3"/><rect class="bar" x="0" y="{}" width="{:.1f}" '
                'height="{}" rx="3"/><text class="value" x="{}" y="{}">{}'
                "</text>"
            ).format(
                top + 12,
                label,
                top + 18,
                room,
                _BAR_HEIGHT,
                top + 18,
                length,
                _BAR_HEIGHT,
                WIDTH,
                top + 31,
                tables.format_percent(value),
            )
        )
    return frame_svg(title, _ROW_HEIGHT * len(bars), parts)


def draw_reliability(reliability: Reliability) -> Markup:
    """Draws observed against expected precision, and the counts below."""
    left, top, side, room = 40, 8, 270, 56
    bottom = top + side
    parts = [_draw_grid(left, top, side)]
    most = max([1, *(found.count for _, _, found in reliability.bins)])
    base = bottom + 44 + room
    for low, high, found in reliability.bins:
        x = left + side * low + 1
        width = side * (high - low) - 2
        height = room * found.count / most
        words = f"score {low:.1f} to {high:.1f}: {found.count} things"
        if found.precision is not None and found.mean_score is not None:
            words += (
                f", expected {tables.format_percent(found.mean_score)} %, "
                f"observed {tables.format_percent(found.precision)} %"
            )
            y = bottom - side * found.precision
            expected = bottom - side * found.mean_score
            parts.append(
                Markup(
                    '<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" '
                    'height="{:.1f}"><title>{}</title></rect>'
                    '<line class="mark" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" '
                    'y2="{:.1f}"/>'
                ).format(
                    x, y, width, bottom - y, words, x, x + width, expected,
                    expected,
                )
            )  # fmt: skip
        parts.append(
            Markup(
                '<rect class="count" x="{:.1f}" y="{:.1f}" width="{:.1f}" '
                'height="{:.1f}"><title>{}</title></rect>'
            ).format(x, base - height, width, height, words)
        )
    parts.append(
        Markup(
            '<line class="diagonal" x1="{}" y1="{}" x2="{}" y2="{}"/>'
            '<text class="label" x="{}" y="{}" text-anchor="middle">score, '
            "percent</text>"
            '<text class="label" transform="translate(10 {}) rotate(-90)" '
            'text-anchor="middle">right, percent</text>'
            '<text class="label" transform="translate(10 {}) rotate(-90)" '
            'text-anchor="middle">things</text>'
            '<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>'
            '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>'
        ).format(
            left,
            bottom,
            left + side,
            top,
            left + side / 2,
            bottom + 30,
            top + side / 2,
            base - room / 2,
            left - 6,
            base - room + 8,
            tables.format_count(most),
            left,
            left + side,
            base,
            base,
        )
    )
    title = (
        "Share of predicted things that are right, by score; dots mark the "
        "mean score, and below are the numbers of things"
    )
    return frame_svg(title, base + 4, parts)


def _draw_grid(left: int, top: int, side: int) -> Markup:
    parts = []
    for step in range(6):
        share = step / 5
        y, x = top + side * (1 - share), left + side * share
        parts.append(
            Markup(
                '<line class="grid" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>'
                '<text class="tick" x="{3}" y="{4}" text-anchor="end">{5}'
                '</text><text class="tick" x="{6}" y="{7}" '
                'text-anchor="middle">{5}</text>'
            ).format(
                left,
                left + side,
                y,
                left - 6,
                y + 4,
                round(100 * share),
                x,
                top + side + 15,
            )
        )
    return Markup("").join(parts)


def frame_svg(title: str, height: float, parts: Sequence[Markup]) -> Markup:
    """Makes a chart of its parts.

    Args:
        title: What the chart shows, for readers that do not see it.
        height: Its height; the width is `WIDTH`.
        parts: SVG elements.
    """
    return Markup(
        '<svg class="figure" role="img" aria-label="{}" '
        'viewBox="0 0 {} {:.0f}">{}</svg>'
    ).format(title, WIDTH, height, Markup("").join(parts))
