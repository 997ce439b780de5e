# SPDX-License-Identifier: Apache-2.0
"""What the check of records warns of."""

import collections

import pytest

from deeplab2_like.data import check_main, checks
from deeplab2_like.labels import descriptor as descriptor_lib

_DATA = descriptor_lib.make(["ground", "sky"], ["tree", "car"])


def _list(**fields):
    values = {
        "num_records": 3,
        "num_checked": 3,
        "pixels": collections.Counter({0: 5, 1: 5, 2: 5, 3: 5, 255: 5}),
    }
    report = checks.Report(**(values | fields))
    return check_main._list_warnings(report, _DATA)


def test_records_of_all_classes_have_no_warning():
    assert _list() == []


def test_classes_that_do_not_occur_are_named():
    (found,) = _list(pixels=collections.Counter({0: 5, 2: 5, 255: 5}))
    assert found.startswith("2 of 4 classes do not occur: ")
    assert "sky" in found
    assert "car" in found
    assert "learns nothing about them" in found


def test_a_sample_does_not_show_that_a_class_is_missing():
    pixels = collections.Counter({0: 5})
    assert _list(pixels=pixels, num_records=30) == []


@pytest.mark.parametrize(("most", "is_warned"), [(255, False), (256, True)])
def test_more_instances_than_raw_predictions_hold_are_named(most, is_warned):
    found = _list(max_class_instances=most)
    assert bool(found) == is_warned
    if found:
        assert "An image has 256 instances of one class" in found[0]
        assert "three_channel_png" in found[0]
