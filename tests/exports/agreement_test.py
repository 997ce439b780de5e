# SPDX-License-Identifier: Apache-2.0
import numpy as np

from deeplab2_like.exports import agreement


def _count(found, expected):
    return agreement.count_agreeing(
        np.array(found, np.int32), np.array(expected, np.int32), 1000
    )


def test_segments_count_however_they_are_numbered():
    found = [[5001, 5001, 5002], [3000, 3000, 255_000]]
    expected = [[5002, 5002, 5001], [3000, 3000, 255_000]]
    assert _count(found, expected) == 6


def test_another_class_does_not_agree():
    assert _count([[3000, 4000]], [[3000, 3000]]) == 0
    assert _count([[3000, 3000, 4000]], [[3000, 3000, 3000]]) == 2


def test_two_halves_of_an_object_do_not_agree():
    assert _count([[5001, 5001, 5002, 5002]], [[5001] * 4]) == 0
    assert _count([[5001, 5001, 5001, 5002]], [[5001] * 4]) == 3


def test_void_agrees_with_void():
    assert _count([[255_000, 255_000]], [[255_000, 3000]]) == 0
    assert _count([[255_000, 255_000]], [[255_000, 255_000]]) == 2
