# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like.metrics import overlaps
from deeplab2_like.tracking import consensus
from deeplab2_like.tracking.consensus import Part

_STUFF, _CELL = Part(0, False), Part(5, True)


def _join(volumes, parts, **options):
    """Runs all steps; returns the clusters and the volume."""
    found = [
        overlaps.compute_overlaps(
            volumes[i].reshape(8, -1), volumes[j].reshape(8, -1)
        )
        for i, j in consensus.PAIRS
    ]
    clusters = consensus.find_clusters(parts, found, **options)
    tables = consensus.make_tables(clusters, [int(v.max()) for v in volumes])
    return clusters, consensus.vote(volumes, tables)


def _draw():
    volume = np.zeros((8, 20, 20), int)
    volume[:, :10] = 1
    volume[2:6, 12:18, 2:8], volume[2:6, 12:18, 10:16] = 2, 3
    return volume


_PARTS = {1: _STUFF, 2: _CELL, 3: _CELL}


def test_directions_that_agree_give_their_common_volume():
    volume = _draw()
    renamed = np.array([0, 7, 3, 9])[volume]
    parts = {7: _STUFF, 3: _CELL, 9: _CELL}
    clusters, found = _join([volume, volume, renamed], [_PARTS, _PARTS, parts])
    assert [c.members for c in clusters] == [(1, 1, 7), (2, 2, 3), (3, 3, 9)]
    np.testing.assert_array_equal(found, volume)


def test_what_only_one_direction_has_is_void():
    one = _draw()
    others = np.where(one == 3, 0, one)
    _, found = _join(
        [one, others, others], [_PARTS, *2 * [{1: _STUFF, 2: _CELL}]]
    )
    np.testing.assert_array_equal(found, others)
    _, found = _join(
        [others, one, one], [{1: _STUFF, 2: _CELL}, _PARTS, _PARTS]
    )
    np.testing.assert_array_equal(found > 0, one > 0)


def test_each_voxel_has_what_two_of_three_directions_say():
    rng = np.random.default_rng(0)
    truth = _draw()
    volumes = []
    for _ in range(3):
        volume = truth.copy()
        wrong = rng.random(truth.shape) < 0.1
        volume[wrong] = 0
        volumes.append(volume)
    _, found = _join(volumes, 3 * [_PARTS])
    for value in range(1, 4):
        votes = sum((volume == value).astype(int) for volume in volumes)
        np.testing.assert_array_equal(found == value, votes >= 2)


def test_objects_that_one_direction_joins_remain_apart():
    truth = _draw()
    joined = np.where(truth == 3, 2, truth)
    parts = [_PARTS, _PARTS, {1: _STUFF, 2: _CELL}]
    clusters, found = _join([truth, truth, joined], parts)
    assert len(clusters) == 3
    np.testing.assert_array_equal(found, truth)


@pytest.mark.parametrize("direction", range(3))
def test_a_cluster_has_one_track_of_a_direction(direction):
    truth = _draw()
    cut = truth.copy()
    cut[3:6][cut[3:6] == 2] = 4  # Three of four slices.
    volumes, parts = 3 * [truth], 3 * [_PARTS]
    volumes[direction], parts[direction] = cut, {**_PARTS, 4: _CELL}
    clusters, _ = _join(volumes, parts, min_iou=0.2)
    larger = tuple(4 if i == direction else 2 for i in range(3))
    # The smaller part is left over.
    members = {c.members for c in clusters}
    assert members == {(1, 1, 1), larger, (3, 3, 3)}


@pytest.mark.parametrize("min_iou", [0.5, 0.95])
def test_classes_and_the_least_iou_decide(min_iou):
    truth = _draw()
    other = np.roll(truth, 1, 0)  # IoU of 0.6 along the first axis.
    parts = [_PARTS, {**_PARTS, 3: Part(6, True)}, {1: _STUFF}]
    third = np.where(truth > 1, 0, truth)
    clusters, _ = _join([truth, other, third], parts, min_iou=min_iou)
    assert ((2, 2, 0) in [c.members for c in clusters]) == (min_iou == 0.5)
    assert all(3 not in c.members for c in clusters)
