# SPDX-License-Identifier: Apache-2.0
"""One volume from the segments of its slices in three directions.

For volumes whose voxels are as long in all directions. The idea is that of
empanada (Conrad and Narayan, "Instance segmentation of mitochondria in electron
microscopy images with a generalist deep learning model", Cell Systems 2023):
objects that directions agree upon are joined, and their voxels vote. The rules
here are simpler.

Steps: link the slices of each direction to tracks (`linking`), sum up which
tracks share voxels, `find_clusters`, `vote` slice by slice.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like.labels import label_map
from deeplab2_like.metrics.overlaps import Overlaps

NUM_DIRECTIONS = 3
PAIRS = ((0, 1), (0, 2), (1, 2))
"""Pairs of directions, of which overlaps are needed."""
_NEEDED_VOTES = 2


@dataclasses.dataclass(frozen=True)
class Part:
    """A track of one direction.

    Attributes:
        category: Number of its class.
        is_object: Whether it is one object; stuff and groups are not.
    """

    category: int
    is_object: bool


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Tracks of different directions that are one segment.

    Attributes:
        members: Id of its track in each direction; 0 where it has none.
        part: Its class.
    """

    members: tuple[int, ...]
    part: Part


def find_clusters(
    parts: Sequence[Mapping[int, Part]],
    overlaps: Sequence[Overlaps],
    *,
    min_iou: float = 0.5,
) -> list[Cluster]:
    """Joins the tracks of three directions.

    Objects of one class and of two directions whose IoU is `min_iou` or more
    are joined, the pair with the largest IoU first, as long as a cluster has
    one track of each direction at most. Stuff and groups of a class are one
    cluster. Clusters of one track are dropped.

    Args:
        parts: Tracks of each direction by their ids, which are above 0.
        overlaps: For each of `PAIRS`, the voxels that its tracks share; of
            whole volumes, in which 0 is no track.
        min_iou: Least IoU of objects that are joined, above 0.

    Returns:
        The clusters, in the order of their members.
    """
    ious = []
    for (first, second), found in zip(PAIRS, overlaps, strict=True):
        t, p = found.true_index, found.predicted_index
        union = found.true_areas[t] + found.predicted_areas[p] - found.areas
        rows = zip(
            found.true_ids[t].tolist(),
            found.predicted_ids[p].tolist(),
            (found.areas / union).tolist(),
            strict=True,
        )
        for a, b, iou in rows:
            part = parts[first].get(a)
            is_object = part is not None and part.is_object
            if is_object and part == parts[second].get(b) and iou >= min_iou:
                ious.append((-iou, (first, a), (second, b)))
    groups: dict[tuple[int, int], dict[int, int]] = {}
    for _, left, right in sorted(ious):
        a_group = groups.setdefault(left, dict([left]))
        b_group = groups.setdefault(right, dict([right]))
        if a_group is b_group or a_group.keys() & b_group.keys():
            continue
        a_group.update(b_group)
        for member in b_group.items():
            groups[member] = a_group
    whole: dict[Part, dict[int, int]] = {}
    for direction, tracks in enumerate(parts):
        for track, part in tracks.items():
            if not part.is_object:
                whole.setdefault(part, {})[direction] = track
    clusters = []
    for group in [
        *{id(g): g for g in groups.values()}.values(),
        *whole.values(),
    ]:
        if len(group) >= _NEEDED_VOTES:
            members = tuple(group.get(i, 0) for i in range(NUM_DIRECTIONS))
            direction = min(group)
            clusters.append(
                Cluster(members, parts[direction][group[direction]])
            )
    return sorted(clusters, key=_order)


def _order(cluster: Cluster) -> tuple[tuple[int, int], ...]:
    return tuple(
        (direction, track)
        for direction, track in enumerate(cluster.members)
        if track
    )


def make_tables(
    clusters: Sequence[Cluster], sizes: Sequence[int]
) -> list[npt.NDArray[np.uint32]]:
    """Makes the tables of `vote`.

    Args:
        clusters: The clusters; their ids are 1, 2, ...
        sizes: Highest id of a track in each direction.

    Returns:
        For each direction uint32 [size + 1], the cluster of each track; 0 is
        none.
    """
    tables = [np.zeros(size + 1, np.uint32) for size in sizes]
    for number, cluster in enumerate(clusters, 1):
        for table, track in zip(tables, cluster.members, strict=True):
            if track:
                table[track] = number
    return tables


def vote(
    tracks: Sequence[npt.NDArray[Any]],
    tables: Sequence[npt.NDArray[np.uint32]],
) -> npt.NDArray[np.uint32]:
    """Gives each voxel the cluster of which at least two directions have it.

    There is one at most. The others are 0, void: directions that disagree about
    the class or the object leave a voxel void.

    Args:
        tracks: Integers [...] of each direction, id of the track of each voxel.
        tables: Cluster of each track; see `make_tables`.

    Returns:
        uint32 [...], number of the cluster.
    """
    a, b, c = (table[ids] for table, ids in zip(tables, tracks, strict=True))
    return np.where((a == b) | (a == c), a, np.where(b == c, b, 0)).astype(
        np.uint32
    )


def count_segments(
    ids_hw: npt.NDArray[Any],
) -> dict[int, tuple[int, list[int]]]:
    """Returns area and box [x, y, width, height] of each id above 0."""
    found = label_map.compute_segments(ids_hw)
    return {
        number: (area, [x, y, width, height])
        for number, area, (y, x, height, width) in zip(
            found.ids.tolist(),
            found.areas.tolist(),
            found.boxes.tolist(),
            strict=True,
        )
        if number
    }
