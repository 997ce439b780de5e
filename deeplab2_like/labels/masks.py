# SPDX-License-Identifier: Apache-2.0
"""Masks of objects from polygons, ellipses and run lengths. NumPy only.

Coordinates are continuous: the pixel in row 0 and column 0 covers 0..1 in x and
y, its center is (0.5, 0.5). A pixel belongs to a form where its center lies
inside; of a center on an edge, the form to the right of or below it has the
pixel. So forms with a common edge neither overlap nor leave a gap.

pycocotools and Pillow round the corners to whole or fifths of pixels before
they fill, and differ from this, and from each other, along the edges.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

# Coding of compressed run lengths: 5 bits a character, from "0" on.
_FIRST_CODE, _MAX_CODE = 48, 63
_VALUE_BITS, _MORE, _SIGN = 0x1F, 0x20, 0x10
_MAX_BITS = 60


@dataclasses.dataclass(frozen=True, eq=False)
class Mask:
    """The pixels of an object, within a window of the image.

    Attributes:
        top: First row of the window.
        left: First column of the window.
        pixels: bool [h, w], the pixels of the window.
    """

    top: int
    left: int
    pixels: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, mask_hw: npt.NDArray[Any]) -> Self:
        """Makes the mask of an array [H, W] of the size of the image."""
        mask_hw = np.asarray(mask_hw, bool)
        rows = np.flatnonzero(mask_hw.any(axis=1))
        columns = np.flatnonzero(mask_hw.any(axis=0))
        if not len(rows):
            return cls.empty()
        top, left = int(rows[0]), int(columns[0])
        window = mask_hw[top : rows[-1] + 1, left : columns[-1] + 1]
        return cls(top, left, window.copy())

    @classmethod
    def empty(cls) -> Self:
        """Makes a mask without pixels."""
        return cls(0, 0, np.zeros((0, 0), bool))

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.pixels))

    @property
    def window(self) -> tuple[slice, slice]:
        """The rows and columns of the image that `pixels` has."""
        height, width = self.pixels.shape
        return (
            slice(self.top, self.top + height),
            slice(self.left, self.left + width),
        )

    def to_array(self, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Returns the mask at the size of the image: bool [H, W]."""
        mask_hw = np.zeros(size, bool)
        mask_hw[self.window] = self.pixels
        return mask_hw


def fill_polygon(
    points: npt.NDArray[np.float64] | Sequence[Sequence[float]],
    size: tuple[int, int],
) -> Mask:
    """Fills a polygon; where it crosses itself, by the even-odd rule.

    Args:
        points: Floats [N, 2], (x, y) of the corners in order, in pixels,
            finite. The last is joined to the first. With fewer than three the
            mask is empty.
        size: (height, width) of the image; what is outside is left out.
    """
    x, y = np.asarray(points, np.float64).reshape(-1, 2).T
    if len(x) < 3:
        return Mask.empty()
    height, width = size
    top, bottom = _clip_range(y, height)
    left, right = _clip_range(x, width)
    if top >= bottom or left >= right:
        return Mask.empty()
    # Each edge from its upper end, so that both sides of it round alike.
    x_next, y_next = np.roll(x, -1), np.roll(y, -1)
    is_down = y <= y_next
    x0, y0 = np.where(is_down, x, x_next), np.where(is_down, y, y_next)
    x1, y1 = np.where(is_down, x_next, x), np.where(is_down, y_next, y)
    first = np.ceil(np.clip(y0 - 0.5, top, bottom)).astype(np.int64)
    end = np.ceil(np.clip(y1 - 0.5, top, bottom)).astype(np.int64)
    counts = end - first
    edge = np.repeat(np.arange(len(x)), counts)
    start = np.repeat(np.cumsum(counts) - counts, counts)
    row = np.arange(len(edge)) - start + first[edge]
    share = (row + 0.5 - y0[edge]) / (y1[edge] - y0[edge])
    crossing = x0[edge] + share * (x1[edge] - x0[edge])
    column = np.ceil(np.clip(crossing - 0.5, left, right)).astype(np.int64)
    # Inside is what an odd number of edges lies to the left of.
    toggles = np.zeros((bottom - top, right - left + 1), np.int32)
    np.add.at(toggles, (row - top, column - left), 1)
    inside = np.cumsum(toggles, axis=1)[:, :-1] % 2 == 1
    return Mask(top, left, inside)


def _clip_range(values: npt.NDArray[np.float64], limit: int) -> tuple[int, int]:
    """Returns the range of the pixels that values touch, within an image."""
    low = np.floor(np.clip(values.min(), 0, limit))
    high = np.ceil(np.clip(values.max(), 0, limit))
    return int(low), int(high)


def fill_ellipse(
    center: tuple[float, float],
    radii: tuple[float, float],
    size: tuple[int, int],
) -> Mask:
    """Fills an ellipse with level axes.

    Args:
        center: (x, y), in pixels.
        radii: Half of its width and of its height, in pixels.
        size: (height, width) of the image; what is outside is left out.
    """
    (x, y), (across, down) = center, radii
    if min(radii) <= 0:
        return Mask.empty()
    top, bottom = _clip_range(np.array([y - down, y + down]), size[0])
    left, right = _clip_range(np.array([x - across, x + across]), size[1])
    rows = (np.arange(top, bottom) + 0.5 - y) / down
    columns = (np.arange(left, right) + 0.5 - x) / across
    inside = rows[:, None] ** 2 + columns[None, :] ** 2 <= 1
    return Mask(top, left, inside)


def unite(parts: Sequence[Mask]) -> Mask:
    """Returns the pixels of all masks."""
    parts = [part for part in parts if part.pixels.size]
    if len(parts) <= 1:
        return parts[0] if parts else Mask.empty()
    windows = [part.window for part in parts]
    top = min(rows.start for rows, _ in windows)
    left = min(columns.start for _, columns in windows)
    height = max(rows.stop for rows, _ in windows) - top
    width = max(columns.stop for _, columns in windows) - left
    pixels = np.zeros((height, width), bool)
    for part in parts:
        moved = Mask(part.top - top, part.left - left, part.pixels)
        pixels[moved.window] |= part.pixels
    return Mask(top, left, pixels)


def read_compressed_counts(text: str) -> list[int]:
    """Reads the run lengths of COCO's compressed form.

    Args:
        text: Each number in characters of 5 bits, lowest first, with a sign;
            from the fourth on the difference to the number two before
            (pycocotools, `rleFrString`).

    Returns:
        The lengths.

    Raises:
        ValueError: It is none; the text ends a sentence ("is ...").
    """
    counts: list[int] = []
    value, shift, is_open = 0, 0, False
    for place, character in enumerate(text):
        code = ord(character) - _FIRST_CODE
        if not 0 <= code <= _MAX_CODE or shift > _MAX_BITS:
            raise ValueError(
                f"is no run-length code (at character {place + 1} of "
                f"{len(text)})."
            )
        value |= (code & _VALUE_BITS) << shift
        shift += 5
        is_open = bool(code & _MORE)
        if is_open:
            continue
        if code & _SIGN:
            value -= 1 << shift
        if len(counts) > 2:
            value += counts[-2]
        counts.append(value)
        value = shift = 0
    if is_open:
        raise ValueError("is a run-length code that is cut off.")
    return counts


def count_runs(mask_hw: npt.NDArray[Any]) -> list[int]:
    """Counts the run lengths of a mask: outside, inside ..., by columns.

    Args:
        mask_hw: bool [H, W].

    Returns:
        The lengths, the first of them 0 where the first pixel is inside.
    """
    columns = np.asarray(mask_hw, bool).T.reshape(-1)
    edges = np.flatnonzero(columns[1:] != columns[:-1]) + 1
    bounds = np.concatenate([[0], edges, [columns.size]])
    lengths = np.diff(bounds).tolist()
    return [0, *lengths] if columns.size and columns[0] else lengths


def count_mask_runs(mask: Mask, size: tuple[int, int]) -> list[int]:
    """Counts the run lengths of a mask in an image, see `count_runs`.

    Only the window of the mask is read.

    Args:
        mask: The mask.
        size: (height, width) of the image, which contains the window.
    """
    height, width = size
    columns = np.zeros((mask.pixels.shape[1], mask.pixels.shape[0] + 2), bool)
    columns[:, 1:-1] = mask.pixels.T
    column, row = np.nonzero(columns[:, 1:] != columns[:, :-1])
    # The starts and the ends of the runs in turn.
    edges = (mask.left + column) * height + mask.top + row
    # A run that goes on in the next column ends where that one's begins.
    joins = np.flatnonzero(edges[1:-1:2] == edges[2::2])
    edges = np.delete(edges, np.concatenate([2 * joins + 1, 2 * joins + 2]))
    bounds = np.concatenate([[0], edges, [height * width]])
    lengths: list[int] = np.diff(bounds).tolist()
    return lengths[:-1] if len(lengths) > 1 and not lengths[-1] else lengths


def write_compressed_counts(counts: Sequence[int]) -> str:
    """Writes run lengths in COCO's compressed form.

    Args:
        counts: The lengths; see `read_compressed_counts`.
    """
    characters = []
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        while True:
            code = value & _VALUE_BITS
            value >>= 5
            # The sign is that of the highest of the five bits.
            is_open = value != (-1 if code & _SIGN else 0)
            if is_open:
                code |= _MORE
            characters.append(chr(code + _FIRST_CODE))
            if not is_open:
                break
    return "".join(characters)


def fill_runs(counts: Sequence[int], size: tuple[int, int]) -> Mask:
    """Fills run lengths: pixels outside, inside, outside ..., by columns.

    Args:
        counts: The lengths.
        size: (height, width) of the mask.

    Raises:
        ValueError: They do not fill the mask; the text ends a sentence.
    """
    height, width = size
    if any(count < 0 for count in counts) or sum(counts) != height * width:
        raise ValueError(
            f"has {sum(counts)} pixels in its run lengths, and a size of "
            f"{height} x {width} pixels (height x width)."
        )
    is_inside = np.arange(len(counts)) % 2 == 1
    columns = np.repeat(is_inside, np.array(counts, np.int64))
    return Mask.of(columns.reshape(width, height).T)
