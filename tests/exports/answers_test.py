# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.exports import answers
from deeplab2_like.labels import coco_format, descriptor

_MAPS = {
    # Void, a road, and two cars, of which the second comes first in the table.
    "panoptic": np.array([[[255_000, 3_000], [5_001, 5_002]]], np.int32),
    "segment_id": np.array([[5_002, 3_000, 0, 5_001]], np.int32),
    "segment_is_valid": np.array([[True, True, False, True]]),
}
_COMPACT = {
    "segment_id": [1, 2, 3, 0],
    "segment_category_id": [6, 4, 6, 0],
    "segment_isthing": [True, False, True, False],
    "segment_area": [1, 1, 1, 0],
    "num_segments": 3,
    "error": "",
}


def _compare(numbers, **changes):
    colors = coco_format.encode_ids(np.array(numbers))
    rows = {
        "panoptic_png_bytes": tf.io.encode_png(colors).numpy(),
        **_COMPACT,
        **changes,
    }
    rows = {name: tf.constant([value]) for name, value in rows.items()}
    return answers.compare_compact("a", rows, _MAPS, descriptor.load("scenes"))


def test_a_compact_answer_that_says_the_same_is_equal():
    assert _compare([[0, 2], [3, 1]]) == answers.Comparison(4, 4)


def test_other_pixels_of_a_compact_answer_are_counted():
    found = _compare([[0, 2], [3, 3]], segment_area=[0, 1, 2, 0])
    assert found == answers.Comparison(4, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"segment_id": [1, 3, 2, 0]},
        {"segment_category_id": [6, 6, 6, 0]},
        {"segment_isthing": [True, True, True, False]},
        {"segment_area": [1, 1, 2, 0]},
        {"num_segments": 2},
        {"error": "The file is damaged."},
    ],
)
def test_another_table_of_a_compact_answer_is_a_problem(changes):
    found = _compare([[0, 2], [3, 1]], **changes)
    assert found.problems
    assert found.problems[0].startswith("a: ")
