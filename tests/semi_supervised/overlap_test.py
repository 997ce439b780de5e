# SPDX-License-Identifier: Apache-2.0
from deeplab2_like.semi_supervised import overlap


def test_equal_files_are_found_under_both_names():
    images = [("a", b"one"), ("b", b"two"), ("c", b"four"), ("d", b"one")]
    others = [("x", b"six"), ("y", b"one"), ("z", b"four")]
    found = overlap.find_duplicates(iter(images), iter(others))
    assert found == [("a", "y"), ("c", "z"), ("d", "y")]


def test_files_of_the_same_size_with_other_bytes_differ():
    assert overlap.find_duplicates([("a", b"one")], [("b", b"two")]) == []
    assert overlap.find_duplicates([("a", b"one")], []) == []
    assert overlap.find_duplicates([], [("b", b"two")]) == []
