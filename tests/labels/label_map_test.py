# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like.labels import label_map


@pytest.mark.parametrize("factor", [1, 70_000, -3])
def test_areas_and_boxes_are_those_of_the_masks(factor):
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels = rng.integers(0, 9, (13, 17)) * factor
        labels[3:8, 2:9] = 4 * factor
        found = label_map.compute_segments(labels)
        np.testing.assert_array_equal(found.ids, np.unique(labels))
        for label, area, box in zip(
            found.ids, found.areas, found.boxes, strict=True
        ):
            y, x = np.nonzero(labels == label)
            assert area == len(y)
            expected = [y.min(), x.min(), np.ptp(y) + 1, np.ptp(x) + 1]
            np.testing.assert_array_equal(box, expected)


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (4, 0)])
def test_an_empty_map_has_no_segments(shape):
    empty = np.zeros(shape, np.int32)
    assert label_map.compute_segments(empty).ids.size == 0
    assert label_map.replace_values(
        empty, empty[:0, 0:0].ravel(), []
    ).shape == (shape)


@pytest.mark.parametrize("factor", [1, 2_000_000])
def test_values_are_numbered_in_ascending_order(factor):
    values = np.array([[5, -2, 5], [9, 0, -2]]) * factor
    ids, index = label_map.number_values(values)
    np.testing.assert_array_equal(ids, np.array([-2, 0, 5, 9]) * factor)
    np.testing.assert_array_equal(ids[index], values)


@pytest.mark.parametrize("factor", [1, 2_000_000, -1])
def test_values_are_replaced_and_others_become_the_default(factor):
    labels = np.array([[1, 2, 3], [3, 9, 1]]) * factor
    replaced = label_map.replace_values(
        labels, np.array([9, 1, 50]) * factor, np.array([7, 8, 6]), default=-5
    )
    np.testing.assert_array_equal(replaced, [[8, -5, -5], [-5, 7, 8]])
    assert replaced.dtype == np.int32


def test_nothing_to_replace_gives_the_default_everywhere():
    labels = np.arange(6).reshape(2, 3)
    none = np.zeros(0, int)
    replaced = label_map.replace_values(labels, none, none, default=4)
    np.testing.assert_array_equal(replaced, np.full((2, 3), 4))
