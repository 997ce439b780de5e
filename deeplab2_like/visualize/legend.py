# SPDX-License-Identifier: Apache-2.0
"""Draws names on segments, and the legend beside a picture."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

_PAPER = (255, 255, 255)
_INK = (38, 38, 42)
_FAINT = (120, 120, 128)
# Room for a name is searched on a grid of about this many cells a side.
_GRID = 160
# Least share of a name's box that must lie on its segment.
_MIN_INSIDE = 0.9


@dataclasses.dataclass(frozen=True)
class LegendEntry:
    """One line of a legend.

    Attributes:
        name: Text beside the color.
        color: Red, green, blue in 0..255; None for a line without a color.
        note: Short text at the right, such as a count.
    """

    name: str
    color: tuple[int, int, int] | None = None
    note: str = ""


@functools.cache
def load_font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Loads Pillow's own font, of a fixed size where it cannot be scaled."""
    return ImageFont.load_default(size)


def draw_name(
    picture: Image.Image,
    name: str,
    mask_hw: npt.NDArray[np.bool_],
    corner: tuple[int, int],
    font_size: int,
    occupied: list[tuple[int, int, int, int]],
) -> bool:
    """Writes a name into a segment if there is room for it.

    Args:
        picture: RGB picture, which is changed.
        name: Text to write.
        mask_hw: bool [h, w], the segment within its bounding box.
        corner: (y, x) of the bounding box in the picture.
        font_size: Font size in pixels.
        occupied: Boxes (left, top, right, bottom) of the names so far; the
            new one is added.

    Returns:
        Whether there was room.
    """
    font = load_font(font_size)
    left, top, right, bottom = font.getbbox(name)
    pad = max(2, font_size // 4)
    width, height = int(right - left) + 2 * pad, int(bottom - top) + 2 * pad
    place = _find_room(mask_hw, height, width)
    if place is None:
        return False
    y, x = place[0] + corner[0], place[1] + corner[1]
    box = (x, y, x + width, y + height)
    if any(_overlap(box, other) for other in occupied):
        return False
    occupied.append(box)
    _darken(picture, box, radius=pad)
    ImageDraw.Draw(picture).text(
        (x + pad - left, y + pad - top), name, font=font, fill=(255, 255, 255)
    )
    return True


def _find_room(
    mask_hw: npt.NDArray[np.bool_], height: int, width: int
) -> tuple[int, int] | None:
    """Finds (y, x) of a box that lies in the mask, far from its borders."""
    step = max(1, max(mask_hw.shape) // _GRID)
    grid = mask_hw[::step, ::step]
    rows, columns = -(-height // step), -(-width // step)
    if rows > grid.shape[0] or columns > grid.shape[1]:
        return None
    inside = _box_means(grid, rows, columns)
    if inside.max() < _MIN_INSIDE:
        return None
    # The same box with a wide margin, to prefer places far from borders.
    margin = max(rows, columns // 3)
    padded = np.pad(grid, margin)
    around = _box_means(padded, rows + 2 * margin, columns + 2 * margin)
    y, x = np.indices(inside.shape)
    center = [(values.mean()) for values in np.nonzero(grid)]
    distance = np.hypot(
        y + rows / 2 - center[0], x + columns / 2 - center[1]
    ) / np.hypot(*grid.shape)
    score = 2 * inside + around - 0.5 * distance
    score[inside < _MIN_INSIDE] = -1
    best = np.unravel_index(int(score.argmax()), score.shape)
    return int(best[0]) * step, int(best[1]) * step


def _box_means(
    grid: npt.NDArray[np.bool_], rows: int, columns: int
) -> npt.NDArray[np.float64]:
    """Returns the mean of each box [rows, columns], by its top left cell."""
    sums = np.pad(grid.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    total = (
        sums[rows:, columns:]
        - sums[:-rows, columns:]
        - sums[rows:, :-columns]
        + sums[:-rows, :-columns]
    )
    return np.asarray(total / (rows * columns))


def _overlap(
    a: tuple[int, int, int, int], b: tuple[int, int, int, int]
) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _darken(
    picture: Image.Image, box: tuple[int, int, int, int], radius: int
) -> None:
    """Darkens a box with round corners, so that white text is legible."""
    size = (box[2] - box[0], box[3] - box[1])
    mask = Image.new("L", size, 0)
    ImageDraw.Draw(mask).rounded_rectangle(
        (0, 0, size[0] - 1, size[1] - 1), radius, fill=150
    )
    picture.paste((20, 20, 24), box, mask)


def make_legend(
    entries: Sequence[LegendEntry], height: int, font_size: int
) -> Image.Image:
    """Draws a legend; its last line counts entries that do not fit.

    Args:
        entries: The lines, most important first.
        height: Height of the picture in pixels.
        font_size: Largest font size in pixels; it is reduced, to 10 at least,
            to fit more lines.

    Returns:
        An RGB picture as wide as its text.
    """
    pad = max(4, font_size // 2)
    fitting = (height - 2 * pad) / (1.5 * max(len(entries), 1))
    font_size = int(min(font_size, max(fitting, 10)))
    line = max(1, round(1.5 * font_size))
    room = max(1, (height - 2 * pad) // line)
    if len(entries) > room:
        hidden = len(entries) - (room - 1)
        more = LegendEntry(f"{hidden} more")
        entries = [*entries[: room - 1], more]

    font = load_font(font_size)
    swatch = round(0.95 * font_size)
    names = max((font.getlength(e.name) for e in entries), default=0)
    notes = max((font.getlength(e.note) for e in entries), default=0)
    text_x = pad + swatch + pad
    width = round(text_x + names + (pad + notes if notes else 0)) + pad
    panel = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(panel)
    for row, entry in enumerate(entries):
        middle = pad + row * line + line // 2
        if entry.color is not None:
            top = middle - swatch // 2
            draw.rounded_rectangle(
                (pad, top, pad + swatch - 1, top + swatch - 1),
                max(1, swatch // 5),
                fill=entry.color,
            )
        ink = _INK if entry.color is not None else _FAINT
        x = text_x if entry.color is not None else pad
        draw.text((x, middle), entry.name, fill=ink, font=font, anchor="lm")
        draw.text(
            (width - pad, middle),
            entry.note,
            fill=_FAINT,
            font=font,
            anchor="rm",
        )
    return panel


def make_title(text: str, width: int, font_size: int) -> Image.Image:
    """Draws a line of text on a strip of this width in pixels."""
    strip = Image.new("RGB", (width, round(1.7 * font_size)), _PAPER)
    ImageDraw.Draw(strip).text(
        (max(2, font_size // 4), strip.height // 2),
        text,
        fill=_INK,
        font=load_font(font_size),
        anchor="lm",
    )
    return strip
