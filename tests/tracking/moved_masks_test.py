# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like.labels import label_map
from deeplab2_like.tracking import moved_masks


def _move(mask_hw, shift, size):
    """Moves pixels one by one; what leaves the picture is dropped."""
    moved = np.zeros(size, bool)
    for y, x in np.argwhere(mask_hw):
        y, x = y + shift[0], x + shift[1]
        if 0 <= y < size[0] and 0 <= x < size[1]:
            moved[y, x] = True
    return moved


def _find(index_hw, number):
    found = label_map.compute_segments(index_hw)
    row = found.ids.tolist().index(number)
    return moved_masks.find_shape(
        index_hw, number, tuple(found.boxes[row].tolist())
    )


def test_ious_of_moved_masks_are_those_of_moved_pixels():
    rng = np.random.default_rng(1)
    for _ in range(30):
        before = rng.integers(0, 3, (9, 11)) * (rng.random((9, 11)) < 0.7)
        before[4, 4] = 1
        index_hw = rng.integers(0, 5, (9, 11))
        areas = np.bincount(index_hw.ravel(), minlength=5)
        shape = _find(before, 1)
        shift = tuple(rng.integers(-12, 13, 2).tolist())
        found = moved_masks.compare(shape, index_hw, areas, shift)
        moved = _move(before == 1, shift, (9, 11))
        for number in range(1, 5):
            mask = index_hw == number
            shared = (moved & mask).sum()
            iou, cover = found.get(number, (0.0, 0.0))
            assert iou == pytest.approx(shared / max(1, (moved | mask).sum()))
            smaller = max(1, min((before == 1).sum(), mask.sum()))
            assert cover == pytest.approx(shared / smaller)


def test_a_rest_at_the_border_is_covered_by_a_small_part():
    maps = np.zeros((2, 20, 20), int)
    maps[0, 5:15, 8:18] = 1
    maps[1, 10:, 16:] = 1
    areas = np.array([360, 40])
    (agreement,) = moved_masks.compare(
        _find(maps[0], 1), maps[1], areas, (5, 11)
    ).values()
    assert agreement.cover == 10 / 40
    # An object that leaves the picture is covered as far as it is seen.
    maps[1] = 0
    maps[1, 10:, 19:] = 1
    areas = np.array([390, 10])
    (agreement,) = moved_masks.compare(
        _find(maps[0], 1), maps[1], areas, (5, 11)
    ).values()
    assert agreement == (1, 1)


def test_centers_are_means_of_places():
    rng = np.random.default_rng(2)
    index_hw = (rng.random((13, 7)) < 0.3).astype(int)
    index_hw[6, 3] = 1
    shape = _find(index_hw, 1)
    assert shape.area == index_hw.sum()
    np.testing.assert_allclose(shape.center, np.argwhere(index_hw).mean(0))


def test_shapes_are_compared_with_their_centers_upon_each_other():
    maps = np.zeros((2, 30, 40), int)
    maps[0, 2:8, 3:9] = 1
    maps[1, 20:26, 31:37] = 1
    assert (
        moved_masks.compute_shape_iou(_find(maps[0], 1), _find(maps[1], 1)) == 1
    )
    maps[1, 20:26, 31:34] = 0
    assert moved_masks.compute_shape_iou(
        _find(maps[0], 1), _find(maps[1], 1)
    ) == pytest.approx(0.5)


def test_halves_are_rounded_up():
    assert moved_masks.round_shift(0.5, -0.5) == (1, 0)
    assert moved_masks.round_shift(-1.6, 2.4) == (-2, 2)
