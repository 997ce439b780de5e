# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.exports import parity
from deeplab2_like.labels import coco_format, descriptor


@pytest.mark.parametrize(
    ("num_pixels", "num_different"), [(1_000_000, 100), (1_000, 16), (1_000, 0)]
)
def test_what_rounding_tips_is_allowed(num_pixels, num_different):
    found = parity.Parity(4, num_pixels, num_pixels - num_different, [])
    assert found.is_good
    parity.require(found)
    assert found.equal_pixels == pytest.approx(1 - num_different / num_pixels)


@pytest.mark.parametrize(
    ("num_pixels", "num_different"), [(1_000_000, 101), (1_000, 17)]
)
def test_more_is_refused(num_pixels, num_different):
    found = parity.Parity(4, num_pixels, num_pixels - num_different, [])
    with pytest.raises(errors.ExportError, match=f"of {num_pixels} pixels"):
        parity.require(found)


def test_other_segments_are_refused_however_many_pixels_are_equal():
    found = parity.Parity(1, 1_000, 1_000, ["a.jpg: 2 segments instead of 3"])
    with pytest.raises(errors.ExportError, match="2 segments instead of 3"):
        parity.require(found)


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
    return parity._compare_compact("a", rows, _MAPS, descriptor.load("scenes"))


def test_a_compact_answer_that_says_the_same_is_equal():
    assert _compare([[0, 2], [3, 1]]) == parity.Parity(1, 4, 4, [])


def test_other_pixels_of_a_compact_answer_are_counted():
    found = _compare([[0, 2], [3, 3]], segment_area=[0, 1, 2, 0])
    assert found == parity.Parity(1, 4, 3, [])


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
    assert found.problems[0].startswith("a, encoded_compact: ")
