# SPDX-License-Identifier: Apache-2.0
"""Corners of segments -> polygons and run lengths that have the same pixels.

Polygons are valid by the rules of OGC Simple Features and of RFC 7946: rings
are simple, and touch at points only. All segments are traced together, in
NumPy.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from deeplab2_like.large_images.corners import Corners

Ring = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Outline:
    """The outline of a segment, or of a part of it.

    Attributes:
        label: The label of its corners.
        polygons: Rings of each polygon, the outer one first, then those of
            holes. A ring is int64 [K, 2], (x, y) of the corners of pixels, in
            pixels from the upper left corner of the image, the first not
            repeated at the end. With y as in a plot, upwards, outer rings are
            counterclockwise and holes clockwise.
    """

    label: int
    polygons: list[list[Ring]]


def trace(corners: Corners) -> Iterator[Outline]:
    """Yields the outline of each label, by ascending labels.

    Args:
        corners: All corners of the labels, as `find_corners` has them.
    """
    if not len(corners):
        return
    points, starts, labels = _follow(corners)
    points, starts, labels = _split_touching(points, starts, labels)
    is_hole = _measure(points, starts) < 0
    outer = _find_outer(points, starts, labels, is_hole)
    ends = np.append(starts[1:], len(points))
    # Outer rings before holes, those of one label and one polygon together.
    order = np.lexsort((is_hole, outer, labels))
    polygons: list[list[Ring]] = []
    label = -1
    for ring in order.tolist():
        if labels[ring] != label:
            if polygons:
                yield Outline(label, polygons)
            label, polygons = int(labels[ring]), []
        corners_k2 = points[starts[ring] : ends[ring]]
        if is_hole[ring]:
            polygons[-1].append(corners_k2)
        else:
            polygons.append([corners_k2])
    yield Outline(label, polygons)


def _pair(order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns the partner of each corner: neighbors in an order are pairs."""
    partner = np.empty_like(order)
    partner[order[::2]] = order[1::2]
    partner[order[1::2]] = order[::2]
    return partner


def _pair_level(corners: Corners) -> npt.NDArray[np.int64]:
    """Returns the corner at the other end of each level line."""
    return _pair(
        np.lexsort((corners.is_east, corners.x, corners.y, corners.label))
    )


def _follow(
    corners: Corners,
) -> tuple[Ring, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Joins corners to rings.

    Returns:
        Points [P, 2] of all rings, one ring after the other; where each ring
        begins, and its label.
    """
    level = _pair_level(corners)
    upright = _pair(
        np.lexsort((corners.is_south, corners.y, corners.x, corners.label))
    )
    # Level lines are left so that the segment is on the same side of all.
    is_below = corners.is_south == corners.is_convex
    first = np.flatnonzero(corners.is_east == is_below)
    place = np.empty(len(corners), np.int64)
    place[first] = np.arange(len(first))
    following = place[upright[level[first]]]
    leader = _find_leaders(following)
    order, starts = _order_rings(following, leader)
    first = first[order]
    second = level[first]
    points = np.empty((2 * len(first), 2), np.int64)
    points[::2, 0], points[::2, 1] = corners.x[first], corners.y[first]
    points[1::2, 0], points[1::2, 1] = corners.x[second], corners.y[second]
    return points, 2 * starts, corners.label[first[starts]].astype(np.int64)


def _find_leaders(following: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns the least member of the cycle of each member."""
    leader = np.arange(len(following))
    jump = following
    while True:
        other = leader[jump]
        if (other == leader).all():
            return leader
        leader = np.minimum(leader, other)
        jump = jump[jump]


def _order_rings(
    following: npt.NDArray[np.int64], leader: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns the members of cycles in order, and where each cycle begins."""
    is_leader = leader == np.arange(len(leader))
    jump = np.where(is_leader, leader, following)
    # Steps until the leader; doubled in each round.
    steps = (~is_leader).astype(np.int64)
    while (jump != leader).any():
        steps += steps[jump]
        jump = jump[jump]
    steps[is_leader] = len(leader) + 1
    order = np.lexsort((-steps, leader))
    return order, np.flatnonzero(is_leader[order])


def _split_touching(
    points: Ring, starts: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]
) -> tuple[Ring, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Splits rings that pass a point twice, so that all are simple."""
    sizes = np.diff(np.append(starts, len(points)))
    ring = np.repeat(np.arange(len(starts)), sizes)
    order = np.lexsort((points[:, 0], points[:, 1], ring))
    ordered, ordered_ring = points[order], ring[order]
    is_same = (ordered[1:] == ordered[:-1]).all(axis=1)
    is_same &= ordered_ring[1:] == ordered_ring[:-1]
    touching = np.unique(ordered_ring[1:][is_same])
    if not len(touching):
        return points, starts, labels
    is_kept = np.ones(len(starts), bool)
    is_kept[touching] = False
    parts = [points[is_kept[ring]]]
    new_sizes = [sizes[is_kept]]
    new_labels = [labels[is_kept]]
    for number in touching.tolist():
        begin = starts[number]
        simple = _split_ring(points[begin : begin + sizes[number]].tolist())
        parts += [np.array(one, np.int64) for one in simple]
        new_sizes.append(np.array([len(one) for one in simple]))
        new_labels.append(np.full(len(simple), labels[number]))
    all_sizes = np.concatenate(new_sizes)
    return (
        np.concatenate(parts),
        np.cumsum(all_sizes) - all_sizes,
        np.concatenate(new_labels),
    )


def _split_ring(points: list[list[int]]) -> list[list[list[int]]]:
    """Splits a ring at the points that it passes twice."""
    rings = []
    path: list[list[int]] = []
    place: dict[tuple[int, int], int] = {}
    for point in points:
        key = (point[0], point[1])
        if key in place:
            begin = place[key]
            rings.append(path[begin:])
            for one in path[begin + 1 :]:
                del place[one[0], one[1]]
            del path[begin + 1 :]
        else:
            place[key] = len(path)
            path.append(point)
    return [*rings, path]


def _measure(
    points: Ring, starts: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Returns twice the area of each ring, negative where it is clockwise."""
    following = np.arange(1, len(points) + 1)
    following[np.append(starts[1:], len(points)) - 1] = starts
    x, y = points.T
    crossed = x * y[following] - x[following] * y
    return np.asarray(np.add.reduceat(crossed, starts))


def _find_outer(
    points: Ring,
    starts: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    is_hole: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int64]:
    """Returns the outer ring of each ring; of outer ones themselves.

    Left of the leftmost line of a hole is the segment, and left of that in the
    same row another ring of the same polygon: the outer one, or a hole that
    begins further to the left.
    """
    outer = np.arange(len(starts))
    if not is_hole.any():
        return outer
    # Labels with a hole; of others nothing is needed.
    has_hole = np.zeros(int(labels.max()) + 1, bool)
    has_hole[labels[is_hole]] = True
    sizes = np.diff(np.append(starts, len(points)))
    ring = np.repeat(np.arange(len(starts)), sizes)
    following = np.arange(1, len(points) + 1)
    following[np.append(starts[1:], len(points)) - 1] = starts
    is_line = points[:, 0] == points[following, 0]
    is_line &= has_hole[labels[ring]]
    line = np.flatnonzero(is_line)
    top = np.minimum(points[line, 1], points[following[line], 1])
    bottom = np.maximum(points[line, 1], points[following[line], 1])
    lengths = bottom - top
    # Each line in each of its rows.
    owner = np.repeat(np.arange(len(line)), lengths)
    row = np.arange(len(owner)) - np.repeat(
        np.cumsum(lengths) - lengths, lengths
    )
    row += top[owner]
    line_ring, line_x = ring[line], points[line, 0]
    order = np.lexsort((line_x[owner], row, labels[line_ring[owner]]))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    # The leftmost line of each hole, in its first row.
    by_hole = np.lexsort((line_x, line_ring))
    _, begins = np.unique(line_ring[by_hole], return_index=True)
    leftmost = by_hole[begins]
    leftmost = leftmost[is_hole[line_ring[leftmost]]]
    first_entry = (np.cumsum(lengths) - lengths)[leftmost]
    before = order[place[first_entry] - 1]
    outer[line_ring[leftmost]] = line_ring[owner[before]]
    while is_hole[outer].any():
        outer = np.where(is_hole[outer], outer[outer], outer)
    return outer


def find_toggles(
    corners: Corners, height: int
) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Yields where each label begins and ends, by ascending labels.

    Args:
        corners: All corners of the labels.
        height: Rows of the image.

    Yields:
        The label, and int64 [T], the pixels before which it begins or ends,
        ascending; pixels are counted by columns, as COCO counts them.
    """
    if not len(corners):
        return
    level = _pair_level(corners)
    first = np.flatnonzero(corners.is_east)
    x, y = corners.x[first].astype(np.int64), corners.y[first].astype(np.int64)
    lengths = corners.x[level[first]] - x
    owner = np.repeat(np.arange(len(first)), lengths)
    column = np.arange(len(owner)) - np.repeat(
        np.cumsum(lengths) - lengths, lengths
    )
    toggle = (column + x[owner]) * height + y[owner]
    label = corners.label[first][owner].astype(np.int64)
    order = np.lexsort((toggle, label))
    toggle, label = toggle[order], label[order]
    begins = np.flatnonzero(np.append(True, label[1:] != label[:-1]))
    for begin, end in zip(
        begins.tolist(), [*begins[1:].tolist(), len(label)], strict=True
    ):
        yield int(label[begin]), toggle[begin:end]


def count_runs(parts: Sequence[npt.NDArray[np.int64]]) -> list[int]:
    """Returns the run lengths of a segment.

    Args:
        parts: What `find_toggles` yields for each of its parts.

    Returns:
        The lengths: pixels outside, inside, outside ..., by columns; the last
        run, if it is outside, is not there.
    """
    toggle = np.sort(np.concatenate(parts))
    # Where one run ends and the next begins, they are one.
    is_same = toggle[1:] == toggle[:-1]
    is_kept = np.ones(len(toggle), bool)
    is_kept[1:] &= ~is_same
    is_kept[:-1] &= ~is_same
    runs: list[int] = np.diff(toggle[is_kept], prepend=0).tolist()
    return runs
