# SPDX-License-Identifier: Apache-2.0
"""The center nearest to each vote, for any number of centers.

The rule is that of `postprocess.pixels.grouping`: float32 square roots, of
equally near centers the first. Votes are sorted into the cells of a grid, and
compared with those centers only that can be nearest to a point of the box
around the votes of their cell. A second grid, of the centers, finds these.

N votes, K centers.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float32]
# Votes are clipped to this many pixels from the origin, as in `grouping`.
FARTHEST = np.float32(1e6)
# Sides of the cells of both grids, in pixels.
_SMALLEST, _LARGEST = 16, 256
# Side of the cells of votes in those of centers.
_VOTE_SIDES = 2
# So few centers are all compared.
_FEW = 8
# Votes that are compared at once, so that the arrays stay in the caches.
_CHUNK = 1 << 14


def vote(coordinate: _Floats, offset: _Floats) -> _Floats:
    """Returns where pixels point to, as `grouping` does; NaN counts as 0."""
    moved = np.where(offset == offset, offset, np.float32(0))
    return np.clip(coordinate + moved, -FARTHEST, FARTHEST)


class CenterGrid:
    """The centers of an image, found by place."""

    def __init__(self, y: npt.NDArray[np.int32], x: npt.NDArray[np.int32]):
        """Sorts the centers into a grid.

        Args:
            y: Rows of the centers in raster order, int32 [K], K > 0.
            x: Columns of the centers, int32 [K].
        """
        self._y, self._x = y.astype(np.float32), x.astype(np.float32)
        self._count = len(y)
        height, width = int(y.max()) + 1, int(x.max()) + 1
        spacing = np.sqrt(height * width / self._count)
        self.side = int(np.clip(spacing, _SMALLEST, _LARGEST))
        self._rows = -(-height // self.side)
        self._columns = -(-width // self.side)
        cell = y // self.side * np.int64(self._columns) + x // self.side
        self._order = np.argsort(cell, kind="stable")
        self._starts = np.searchsorted(
            cell[self._order], np.arange(self._rows * self._columns + 1)
        )
        self._some = self._find_some()

    def _find_some(self) -> npt.NDArray[np.int64]:
        """Returns a center near to each cell: int64 [rows, columns].

        That of the nearest cell with centers in the own row, or of a row above
        or below if it is nearer: by rows down and then up.
        """
        shape = (self._rows, self._columns)
        starts = self._starts
        has = (starts[1:] > starts[:-1]).reshape(shape)
        first = self._order[np.minimum(starts[:-1], self._count - 1)]
        some = np.where(has, first.reshape(shape), -1)
        columns = np.arange(self._columns)
        far = 4 * (self._rows + self._columns)
        before = np.maximum.accumulate(np.where(has, columns, -far), axis=1)
        after = np.where(has, columns, far)[:, ::-1]
        after = np.minimum.accumulate(after, axis=1)[:, ::-1]
        is_before = columns - before <= after - columns
        nearest = np.where(is_before, before, after)
        distance = np.abs(nearest - columns).astype(np.float64) ** 2
        inside = np.clip(nearest, 0, self._columns - 1)
        some = np.take_along_axis(some, inside, axis=1)
        side = float(self.side)
        for rows in (range(1, self._rows), range(self._rows - 2, -1, -1)):
            step = 1 if rows.step > 0 else -1
            for row in rows:
                other = some[row - step]
                dy = (self._y[other] / side - row) ** 2
                dx = (self._x[other] / side - columns) ** 2
                is_nearer = (other >= 0) & (dy + dx < distance[row])
                some[row] = np.where(is_nearer, other, some[row])
                distance[row] = np.where(is_nearer, dy + dx, distance[row])
        return some

    def find_candidates(
        self, low: tuple[float, float], high: tuple[float, float]
    ) -> npt.NDArray[np.int64]:
        """Finds the centers that can be nearest to a point of a box.

        Args:
            low: Least row and column of the box.
            high: Largest row and column.

        Returns:
            int64 [M], indices of centers, ascending; at least one.
        """
        if self._count <= _FEW:
            return np.arange(self._count)
        row = int((low[0] + high[0]) / 2) // self.side
        column = int((low[1] + high[1]) / 2) // self.side
        some = self._some[
            min(max(row, 0), self._rows - 1),
            min(max(column, 0), self._columns - 1),
        ]
        _, far = self._measure(np.array([some]), low, high)
        reached = _with_margin(far.min())
        found = self._list_around(low, high, reached)
        near, far = self._measure(found, low, high)
        found = found[near <= _with_margin(far.min())]
        found.sort()
        return found

    def _list_around(
        self,
        low: tuple[float, float],
        high: tuple[float, float],
        reached: float,
    ) -> npt.NDArray[np.int64]:
        """Lists the centers of all cells within a distance of a box."""
        radius = np.sqrt(reached)
        top = max(int((low[0] - radius) // self.side), 0)
        bottom = min(int((high[0] + radius) // self.side) + 1, self._rows)
        left = max(int((low[1] - radius) // self.side), 0)
        right = min(int((high[1] + radius) // self.side) + 1, self._columns)
        parts = []
        for row in range(top, bottom):
            first = row * self._columns
            begin, end = self._starts[first + left], self._starts[first + right]
            parts.append(self._order[begin:end])
        return np.concatenate(parts)

    def _measure(
        self,
        centers: npt.NDArray[np.int64],
        low: tuple[float, float],
        high: tuple[float, float],
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Returns the squared distances to the near and far end of a box."""
        near = np.zeros(len(centers))
        far = np.zeros(len(centers))
        for places, least, most in zip(
            (self._y, self._x), low, high, strict=True
        ):
            place = places[centers].astype(np.float64)
            outside = np.maximum(np.maximum(least - place, place - most), 0.0)
            near += outside**2
            far += np.maximum(np.abs(least - place), np.abs(most - place)) ** 2
        return near, far

    def find_nearest(
        self, votes_y: _Floats, votes_x: _Floats
    ) -> npt.NDArray[np.int64]:
        """Finds the nearest center of each vote.

        Args:
            votes_y: float32 [N], rows, finite.
            votes_x: float32 [N], columns.

        Returns:
            int64 [N], indices of the centers.
        """
        if self._count == 1 or not len(votes_y):
            return np.zeros(len(votes_y), np.int64)
        found = np.empty(len(votes_y), np.int64)
        for chosen in self._group(votes_y, votes_x):
            y, x = votes_y[chosen], votes_x[chosen]
            candidates = self.find_candidates(
                (float(y.min()), float(x.min())),
                (float(y.max()), float(x.max())),
            )
            if len(candidates) == 1:
                found[chosen] = candidates[0]
            else:
                found[chosen] = candidates[self._compare(y, x, candidates)]
        return found

    def _group(
        self, votes_y: _Floats, votes_x: _Floats
    ) -> Iterator[npt.NDArray[np.int64]]:
        """Yields the indices of the votes of each cell, in parts."""
        if self._count <= _FEW:
            for start in range(0, len(votes_y), _CHUNK):
                yield np.arange(start, min(start + _CHUNK, len(votes_y)))
            return
        per_pixel = np.float32(1 / (_VOTE_SIDES * self.side))
        row, column = (
            (votes * per_pixel - np.floor(votes.min() * per_pixel)).astype(
                np.int64
            )
            for votes in (votes_y, votes_x)
        )
        row *= column.max() + 1
        cell = row + column
        if cell.max() < 1 << 16:
            cell = cell.astype(np.uint16)  # Sorted in linear time.
        order = np.argsort(cell, kind="stable")
        ordered = cell[order]
        ends = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
        starts = np.concatenate([[0], ends])
        ends = np.concatenate([ends, [len(order)]])
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            for first in range(start, end, _CHUNK):
                yield order[first : min(first + _CHUNK, end)]

    def _compare(
        self, y: _Floats, x: _Floats, candidates: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Returns the index of the nearest candidate, the first of equal."""
        best = np.full(len(y), np.inf, np.float32)
        number = np.zeros(len(y), np.int64)
        for index, center in enumerate(candidates.tolist()):
            distance = np.square(y - self._y[center])
            distance += np.square(x - self._x[center])
            np.sqrt(distance, out=distance)
            is_nearer = distance < best
            np.copyto(best, distance, where=is_nearer)
            number[is_nearer] = index
        return number


def _with_margin(squared: float) -> float:
    """Returns a bound that is farther than the rounding of a distance."""
    return squared * (1.0 + 1e-5) + 1e-3
