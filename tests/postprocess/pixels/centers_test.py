# SPDX-License-Identifier: Apache-2.0
"""Peaks of the heatmap: thresholds, plateaus, borders, ties."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.postprocess import options
from deeplab2_like.postprocess.pixels import centers


def _find(heatmap, threshold=0.1, nms_kernel=3, keep_k_centers=10):
    found = centers.find_centers(
        tf.constant(heatmap, tf.float32),
        options.CenterRules(threshold, nms_kernel, keep_k_centers),
    )
    count = int(found.count)
    assert not np.any(found.score[count:])
    return [
        (int(found.y[n]), int(found.x[n]), float(found.score[n]))
        for n in range(count)
    ]


def _suppress_slowly(heatmap, threshold, kernel):
    height, width = heatmap.shape
    heat = np.where(heatmap > threshold, heatmap, 0)
    kept = np.zeros_like(heat)
    before, after = (kernel - 1) // 2, kernel // 2
    for y in range(height):
        for x in range(width):
            window = heat[
                max(0, y - before) : y + after + 1,
                max(0, x - before) : x + after + 1,
            ]
            if heat[y, x] == window.max():
                kept[y, x] = heat[y, x]
    return kept


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 7, 13, 41])
def test_suppression_equals_the_definition(kernel):
    rng = np.random.default_rng(kernel)
    heatmap = (rng.integers(0, 30, (17, 23)) / 30).astype(np.float32)
    kept = centers.suppress_non_maxima(tf.constant(heatmap), 0.25, kernel)
    np.testing.assert_array_equal(
        kept, _suppress_slowly(heatmap, np.float32(0.25), kernel)
    )


def test_a_value_equal_to_the_threshold_is_no_center():
    heatmap = np.zeros((5, 5))
    heatmap[2, 2] = 0.1
    assert _find(heatmap) == []
    heatmap[2, 2] = np.nextafter(np.float32(0.1), np.float32(1))
    assert len(_find(heatmap)) == 1


def test_all_of_a_plateau_are_centers():
    heatmap = np.zeros((5, 9))
    heatmap[2, 3:6] = 0.5
    assert [x for _, x, _ in _find(heatmap)] == [3, 4, 5]


def test_the_best_are_kept_and_numbered_by_place():
    heatmap = np.zeros((9, 9))
    heatmap[0, 0], heatmap[4, 4], heatmap[8, 8] = 0.3, 0.9, 0.6
    found = _find(heatmap, keep_k_centers=2)
    assert [(y, x) for y, x, _ in found] == [(4, 4), (8, 8)]


def test_of_equal_ones_the_first_are_kept():
    heatmap = np.full((40, 70), 0.5)
    heatmap[39, 69] = 0.6
    found = _find(heatmap, nms_kernel=1, keep_k_centers=4)
    assert [(y, x) for y, x, _ in found] == [(0, 0), (0, 1), (0, 2), (39, 69)]


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (130, 3), (64, 64)])
@pytest.mark.parametrize("keep_k_centers", [1, 70, 5000])
def test_the_choice_equals_a_sort(size, keep_k_centers):
    rng = np.random.default_rng(0)
    heatmap = (rng.integers(0, 9, size) / 8).astype(np.float32)
    found = _find(heatmap, nms_kernel=1, keep_k_centers=keep_k_centers)
    flat = np.where(heatmap > np.float32(0.1), heatmap, 0).ravel()
    order = np.argsort(-flat, kind="stable")[:keep_k_centers]
    expected = np.sort(order[flat[order] > 0])
    assert [y * size[1] + x for y, x, _ in found] == expected.tolist()


def test_not_a_number_is_no_center():
    heatmap = np.zeros((5, 5))
    heatmap[1, 1], heatmap[3, 3] = np.nan, 0.5
    assert _find(heatmap) == [(3, 3, 0.5)]


def test_the_stated_maximum_holds_without_a_limit():
    heatmap = np.full((60, 60), 0.5)
    found = centers.find_centers(
        tf.constant(heatmap, tf.float32), options.CenterRules(0.1, 1, -1)
    )
    assert found.score.shape == [options.MAX_CENTERS]
    assert int(found.count) == options.MAX_CENTERS
