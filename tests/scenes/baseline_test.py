# SPDX-License-Identifier: Apache-2.0
"""Colours alone must not solve the scenes."""

import numpy as np
import pytest

from deeplab2_like.scenes import baseline


@pytest.mark.slow
def test_a_colour_table_with_connected_components_fails():
    results = baseline.score_colors(num_train=60, num_val=20)
    assert len(results) == 6
    for result in results.values():
        assert 0 < result.all.pq < 0.4
        assert result.things.pq < 0.3


def test_components_are_regions_of_equal_class():
    text = """
        11022
        10022
        00100
        22011
    """
    classes = np.array([[int(c) for c in row] for row in text.split()])
    regions = baseline.find_components(classes)
    # The lower right ones touch the middle one at a corner.
    expected = """
        aabcc
        abbcc
        bbdbb
        eebdd
    """
    names = np.array([list(row) for row in expected.split()])
    pairs = set(zip(names.ravel(), regions.ravel().tolist(), strict=True))
    assert len(pairs) == len(np.unique(names)) == len(np.unique(regions))


def test_the_label_of_the_truth_is_the_truth_where_nothing_touches():
    classes = np.zeros((40, 40), np.int64)
    classes[5:15, 5:15] = 5
    classes[20:30, 5:15] = 5
    classes[20:22, 30:32] = 6
    label = baseline.compute_label(classes, min_area=20)
    assert label[10, 10] != label[25, 10]
    assert {label[10, 10], label[25, 10]} == {5001, 5002}
    assert label[20, 30] == 255000
    assert label[0, 0] == 0
