# SPDX-License-Identifier: Apache-2.0
"""Charts of numbers that were counted, as SVG elements."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from deeplab2_like.reports import figures, tables

_LABEL_WIDTH = 112
_VALUE_WIDTH = 50
_MAX_LETTERS = 17
_BAR_HEIGHT = 7
_SERIES = ("bar", "second", "third")
# Shares are drawn by their logarithm, from a millionth on: a class of few
# pixels has a bar, too.
_LEAST_SHARE = 1e-5


def draw_columns(
    title: str, unit: str, columns: Sequence[tuple[str, int, str]]
) -> Markup:
    """Draws how often values occur, a column for each range of values.

    Args:
        title: What the chart shows, for readers that do not see it.
        unit: What the values are, below the columns.
        columns: Label of each range, how often it occurs, and both in words.
    """
    left, top, height = 40, 20, 120
    base = top + height
    room = figures.WIDTH - left
    width = room / max(1, len(columns))
    most = max([1, *(count for _, count, _ in columns)])
    parts = [
        Markup(
            '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>'
            '<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>'
        ).format(
            left, figures.WIDTH, y, y, left - 5, y + 4,
            tables.format_count(value),
        )
        for value, y in ((most, top), (0, base))
    ]  # fmt: skip
    # Labels that would touch each other are left out.
    letters = max([1, *(len(label) for label, _, _ in columns)])
    step = max(1, math.ceil((7 * letters + 4) / width))
    for index, (label, count, words) in enumerate(columns):
        x = left + index * width
        size = max(height * count / most, 1.0 if count else 0.0)
        parts.append(
            Markup(
                '<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" '
                'height="{:.1f}"><title>{}</title></rect>'
            ).format(
                x + width * 0.08, base - size, width * 0.84, size, words
            )
        )  # fmt: skip
        if index % step == 0:
            parts.append(
                Markup(
                    '<text class="tick" x="{:.1f}" y="{}" '
                    'text-anchor="middle">{}</text>'
                ).format(x + width / 2, base + 15, label)
            )
    parts.append(
        Markup(
            '<text class="label" x="{}" y="{}" text-anchor="middle">{}</text>'
        ).format(left + room / 2, base + 33, unit)
    )
    return figures.frame_svg(title, base + 40, parts)


def draw_shares(
    title: str,
    series: Sequence[str],
    rows: Sequence[tuple[str, Sequence[float]]],
) -> Markup:
    """Draws shares on a logarithmic axis, with a bar for each series.

    Args:
        title: What the chart shows, for readers that do not see it.
        series: Names of the series, at most three.
        rows: Name of each row, and its shares in 0..1.
    """
    series = series[: len(_SERIES)]
    room = figures.WIDTH - _LABEL_WIDTH - _VALUE_WIDTH
    row_height = max(18, len(series) * (_BAR_HEIGHT + 1) + 8)
    top = 24 if len(series) > 1 else 4
    bottom = top + row_height * len(rows)
    parts = [_draw_key(series)] if len(series) > 1 else []
    span = -math.log10(_LEAST_SHARE)
    for power in range(-4, 1, 2):
        x = _LABEL_WIDTH + room * (1 + power / span)
        parts.append(
            Markup(
                '<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" '
                'y2="{2}"/><text class="tick" x="{0:.1f}" y="{3}" '
                'text-anchor="middle">{4:g} %</text>'
            ).format(x, top, bottom, bottom + 13, 100 * 10.0**power)
        )
    for index, (name, shares) in enumerate(rows):
        y = top + index * row_height
        parts.append(_draw_row(y, row_height, name, series, shares, room))
    return figures.frame_svg(title, bottom + 18, parts)


def _draw_key(series: Sequence[str]) -> Markup:
    parts = []
    x = _LABEL_WIDTH
    for kind, name in zip(_SERIES, series, strict=False):
        parts.append(
            Markup(
                '<rect class="{}" x="{}" y="4" width="10" height="10" rx="2"/>'
                '<text class="tick" x="{}" y="13">{}</text>'
            ).format(kind, x, x + 14, _shorten(name))
        )
        x += 28 + 7 * len(_shorten(name))
    return Markup("").join(parts)


def _draw_row(
    y: float,
    height: float,
    name: str,
    series: Sequence[str],
    shares: Sequence[float],
    room: float,
) -> Markup:
    middle = y + height / 2
    words = ", ".join(
        f"{one} {format_share(share)}"
        for one, share in zip(series, shares, strict=False)
    )
    parts = [
        Markup(
            '<text class="label" x="{}" y="{:.1f}" text-anchor="end">{}'
            "<title>{}</title></text>"
        ).format(_LABEL_WIDTH - 6, middle + 4, _shorten(name), name)
    ]
    span = -math.log10(_LEAST_SHARE)
    start = middle - len(series) * (_BAR_HEIGHT + 1) / 2
    for place, kind in enumerate(_SERIES[: len(series)]):
        share = shares[place]
        length = 0.0
        if share > 0:
            length = room * (1 + math.log10(max(share, _LEAST_SHARE)) / span)
        parts.append(
            Markup(
                '<rect class="{}" x="{}" y="{:.1f}" width="{:.1f}" height="{}" '
                'rx="2"><title>{}: {}</title></rect>'
            ).format(
                kind,
                _LABEL_WIDTH,
                start + place * (_BAR_HEIGHT + 1),
                max(length, 1.5) if share > 0 else 0,
                _BAR_HEIGHT,
                name,
                words,
            )
        )
    parts.append(
        Markup('<text class="tick value" x="{}" y="{:.1f}">{}</text>').format(
            figures.WIDTH, middle + 4, format_share(max(shares, default=0.0))
        )
    )
    return Markup("").join(parts)


def _shorten(text: str) -> str:
    if len(text) <= _MAX_LETTERS:
        return text
    return text[: _MAX_LETTERS - 1] + "\u2026"


def format_share(share: float) -> str:
    """Returns a share of 0..1 as percent, small ones with more digits."""
    percent = 100 * share
    if not percent:
        return "0 %"
    if percent < 0.001:
        return "< 0.001 %"
    digits = 1 if percent >= 1 else 2 if percent >= 0.1 else 3
    return f"{percent:.{digits}f} %"


def draw_sizes(title: str, sizes: Sequence[tuple[int, int, int]]) -> Markup:
    """Draws the sizes of images: a circle for each, larger for more images.

    Args:
        title: What the chart shows, for readers that do not see it.
        sizes: (height, width, number of images).
    """
    left, top, side = 44, 10, 250
    bottom = top + side
    limit = _round_up(max([1, *(max(h, w) for h, w, _ in sizes)]))
    most = max([1, *(count for _, _, count in sizes)])
    parts = []
    for step in range(5):
        value = limit * step / 4
        y, x = bottom - side * step / 4, left + side * step / 4
        parts.append(
            Markup(
                '<line class="grid" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>'
                '<text class="tick" x="{3}" y="{4}" text-anchor="end">{5:g}'
                '</text><text class="tick" x="{6}" y="{7}" '
                'text-anchor="middle">{5:g}</text>'
            ).format(
                left, left + side, y, left - 6, y + 4, value, x, bottom + 15
            )
        )  # fmt: skip
    parts.append(
        Markup(
            '<line class="diagonal" x1="{0}" y1="{1}" x2="{2}" y2="{3}"/>'
        ).format(left, bottom, left + side, top)
    )
    for height, width, count in sorted(sizes, key=lambda size: -size[2]):
        parts.append(
            Markup(
                '<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="{:.1f}">'
                "<title>{}</title></circle>"
            ).format(
                left + side * width / limit,
                bottom - side * height / limit,
                3 + 9 * math.sqrt(count / most),
                f"{height} high, {width} wide: {count} images",
            )
        )
    parts.append(
        Markup(
            '<text class="label" x="{}" y="{}" text-anchor="middle">width, '
            'pixels</text><text class="label" '
            'transform="translate(10 {}) rotate(-90)" text-anchor="middle">'
            "height, pixels</text>"
        ).format(left + side / 2, bottom + 32, top + side / 2)
    )
    return figures.frame_svg(title, bottom + 40, parts)


def _round_up(value: int) -> int:
    """Returns a number of few digits that is no smaller."""
    digit = 10 ** max(0, len(str(value)) - 1)
    for factor in (1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10):
        if factor * digit >= value:
            return math.ceil(factor * digit)
    return value
