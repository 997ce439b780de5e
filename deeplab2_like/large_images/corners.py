# SPDX-License-Identifier: Apache-2.0
"""The corners of the outlines of segments, found band by band.

Outlines run along the edges of pixels, so that a segment is its corners: where
of the four pixels around a point exactly one, or all but one, belong to it, and
twice where two do that touch at the point only. All else of a label map is
straight. What is kept is so in proportion to the lengths of outlines, not to
areas, and it does not matter how far a segment extends.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from deeplab2_like.large_images.result import LabelMap, Segments

# Quadrants around a point: above left, above right, below left, below right.
_EAST, _SOUTH, _CONVEX = 1, 2, 4
# Of more corners the longest outline is cut; tracing takes 300 bytes for each.
MOST_CORNERS = 1 << 20


@dataclasses.dataclass(frozen=True, eq=False)
class Corners:
    """N corners.

    Attributes:
        label: uint32 [N], the segment, or a part of it.
        y: int32 [N], in pixels from the upper border.
        x: int32 [N], in pixels from the left border.
        code: uint8 [N], the quadrant in which the lines of the corner lie,
            and whether the segment is there, or everywhere else.
    """

    label: npt.NDArray[np.uint32]
    y: npt.NDArray[np.int32]
    x: npt.NDArray[np.int32]
    code: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        """Returns N."""
        return len(self.label)

    @classmethod
    def join(cls, parts: Sequence["Corners"]) -> Self:
        """Returns all corners of several, at least one."""
        return cls(
            *(
                np.concatenate([getattr(part, field.name) for part in parts])
                for field in dataclasses.fields(cls)
            )
        )

    def select(self, chosen: npt.NDArray[np.bool_]) -> "Corners":
        """Returns some of the corners."""
        return Corners(
            self.label[chosen],
            self.y[chosen],
            self.x[chosen],
            self.code[chosen],
        )

    @property
    def is_east(self) -> npt.NDArray[np.bool_]:
        """Whether the level line goes to the right; else to the left."""
        return (self.code & _EAST) != 0

    @property
    def is_south(self) -> npt.NDArray[np.bool_]:
        """Whether the upright line goes down; else up."""
        return (self.code & _SOUTH) != 0

    @property
    def is_convex(self) -> npt.NDArray[np.bool_]:
        """Whether the segment lies between the lines."""
        return (self.code & _CONVEX) != 0


def find_corners(labels: npt.NDArray[np.uint32], top: int) -> Corners:
    """Returns the corners between the rows of a part of a label map.

    Args:
        labels: uint32 [rows + 1, W]; 0 is no segment.
        top: y of the points between the first two rows.
    """
    padded = np.pad(labels, ((0, 0), (1, 1)))
    upper, lower = padded[:-1], padded[1:]
    # Whether something changes along the points of a row, above or below.
    is_any = (upper[:, :-1] != upper[:, 1:]) | (lower[:, :-1] != lower[:, 1:])
    y, x = np.nonzero(is_any)
    around = [
        upper[y, x],
        upper[y, x + 1],
        lower[y, x],
        lower[y, x + 1],
    ]
    parts = []
    for quadrant, own in enumerate(around):
        beside = around[quadrant ^ _EAST]
        across = around[quadrant ^ _SOUTH]
        opposite = around[quadrant ^ _EAST ^ _SOUTH]
        is_convex = (own != 0) & (own != beside) & (own != across)
        is_concave = (beside != 0) & (own != beside)
        is_concave &= (beside == across) & (beside == opposite)
        for chosen, label, code in (
            (is_convex, own, quadrant | _CONVEX),
            (is_concave, beside, quadrant),
        ):
            count = int(np.count_nonzero(chosen))
            parts.append(
                Corners(
                    label[chosen],
                    (y[chosen] + top).astype(np.int32),
                    x[chosen].astype(np.int32),
                    np.full(count, code, np.uint8),
                )
            )
    return Corners.join(parts)


@dataclasses.dataclass(frozen=True, eq=False)
class Complete:
    """The corners of segments that are complete.

    Attributes:
        corners: The corners.
        id: uint32 [labels], the segment of each label of `corners`.
        part: int32 [labels], number of the part of the segment, from 0.
    """

    corners: Corners
    id: npt.NDArray[np.uint32]
    part: npt.NDArray[np.int32]


class _Labels:
    """Labels of segments, and of the parts into which they are cut."""

    def __init__(self, segments: Segments):
        """Begins with one label for each segment, its id."""
        size = int(segments.id.max(initial=0)) + 1
        self.bottom = np.full(size, np.iinfo(np.int64).max)
        self.bottom[segments.id] = segments.bbox[:, 2]
        self.bottom[0] = -1
        self.id = np.arange(size, dtype=np.uint32)
        self.part = np.zeros(size, np.int32)
        # The label that the pixels of a segment have from now on.
        self.current = np.arange(size, dtype=np.uint32)
        self._is_cut = False

    def apply(self, ids: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """Returns the labels of pixels."""
        return self.current[ids] if self._is_cut else ids

    def cut(self, label: int, y: int) -> None:
        """Ends a label above a row, below which the segment has another."""
        own = self.id[label]
        self.id = np.append(self.id, own)
        self.part = np.append(self.part, self.part[label] + 1).astype(np.int32)
        self.bottom = np.append(self.bottom, self.bottom[label])
        self.bottom[label] = y
        self.current[own] = len(self.id) - 1
        self._is_cut = True


def stream_corners(
    labels: LabelMap,
    segments: Segments,
    *,
    band_rows: int = 512,
    most_corners: int = MOST_CORNERS,
    advance: Callable[[int], None] = lambda _: None,
) -> Iterator[Complete]:
    """Yields the corners of all segments, each when its last row was read.

    In memory are a band of rows and the corners of segments that are not
    complete. When these exceed `most_corners`, the segment that has most is cut
    along a row into parts.

    Args:
        labels: The segment of each pixel, 0 or an id of `segments`.
        segments: The table; a segment lies in its box.
        band_rows: Rows that are read at once.
        most_corners: See above.
        advance: Function that is called with the number of rows that were
            read.
    """
    known = _Labels(segments)
    open_parts: list[Corners] = []
    last = np.zeros((1, labels.width), np.uint32)
    for top in range(0, labels.height, band_rows):
        bottom = min(top + band_rows, labels.height)
        band = known.apply(labels.read(top, bottom))
        rows = [last, band]
        if bottom == labels.height:
            rows.append(np.zeros_like(last))
        last = band[-1:].copy()
        open_parts.append(find_corners(np.concatenate(rows), top))
        del band, rows
        found = Corners.join(open_parts)
        end = bottom + (bottom == labels.height)
        is_complete = known.bottom[found.label] < end
        if is_complete.any():
            yield Complete(found.select(is_complete), known.id, known.part)
            found = found.select(~is_complete)
        if len(found) > most_corners and bottom < labels.height:
            counts = np.bincount(found.label)
            for label in np.argsort(-counts, kind="stable").tolist():
                known.cut(label, bottom)
                counts[label] = 0
                if counts.sum() <= most_corners // 2:
                    break
        open_parts = [found]
        advance(bottom)
