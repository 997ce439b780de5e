# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.tracking import linking
from deeplab2_like.tracking.linking import Linker, Segment
from deeplab2_like.tracking.options import LinkOptions

pytest.importorskip("scipy", reason="SciPy is not installed (extra tracking)")

_CAR, _PERSON, _ROAD = 5, 6, 2


def _frame(*boxes, size=(40, 60)):
    """Draws boxes (id, y, x, height, width), the later ones in front."""
    ids = np.zeros(size, np.int64)
    for number, y, x, height, width in boxes:
        ids[max(y, 0) : y + height, max(x, 0) : max(x + width, 0)] = number
    return ids


def _link(linker, *boxes, category=_CAR):
    ids = _frame(*boxes)
    return linker.add(ids, [Segment(box[0], category) for box in boxes])


def test_an_object_keeps_its_id_whatever_number_its_segment_has():
    linker = Linker()
    assert _link(linker, (3, 5, 5, 10, 10), (8, 25, 40, 9, 9)) == {3: 1, 8: 2}
    assert _link(linker, (8, 6, 7, 10, 10), (3, 25, 38, 9, 9)) == {8: 1, 3: 2}
    assert linker.num_tracks == 2


def test_segments_of_another_class_are_another_track():
    linker = Linker()
    _link(linker, (1, 5, 5, 10, 10))
    assert _link(linker, (1, 5, 5, 10, 10), category=_PERSON) == {1: 2}


def test_the_sum_of_the_overlaps_decides_and_not_the_best_pair():
    linker = Linker(LinkOptions(uses_motion=False))
    _link(linker, (1, 0, 0, 10, 20), (2, 0, 20, 10, 10))
    # The first has the larger overlap with the second segment's successor.
    found = _link(linker, (1, 0, 12, 10, 14), (2, 0, 2, 10, 10))
    assert found == {1: 2, 2: 1}


@pytest.mark.parametrize(("missed", "kept"), [(1, True), (2, True), (3, False)])
@pytest.mark.parametrize("is_damaged", [True, False])
def test_ids_are_kept_through_short_gaps(missed, kept, is_damaged):
    linker = Linker(LinkOptions(max_gap=2))
    _link(linker, (1, 5, 5, 10, 10))
    for _ in range(missed):
        linker.skip() if is_damaged else _link(linker)
    assert _link(linker, (4, 5, 5, 10, 10)) == {4: 1 if kept else 2}


def test_without_a_gap_an_object_that_is_missed_once_is_new():
    linker = Linker(LinkOptions(max_gap=0))
    _link(linker, (1, 5, 5, 10, 10))
    linker.skip()
    assert _link(linker, (1, 5, 5, 10, 10)) == {1: 2}


def test_motion_finds_objects_that_no_longer_overlap():
    still = Linker(LinkOptions(uses_motion=False))
    moving = Linker()
    for time in range(5):
        box = (1, 4, 2 + 11 * time, 9, 9)
        assert _link(moving, box) == {1: 1}
        assert _link(still, box) == {1: time + 1}


def test_motion_goes_on_through_a_gap():
    linker = Linker()
    for time in range(6):
        if time in (3, 4):
            assert _link(linker, (1, 20, 50, 12, 4)) == {1: 2}
        else:
            found = _link(
                linker, (2, 4, 2 + 9 * time, 8, 8), (1, 20, 50, 12, 4)
            )
            assert found == {2: 1, 1: 2}


def test_objects_of_equal_form_that_cross_keep_their_ids():
    linker = Linker()
    for time in range(12):
        left, right = (1, 5, 4 * time, 12, 8), (2, 8, 48 - 4 * time, 12, 8)
        assert _link(linker, left, right) == {1: 1, 2: 2}, time


def test_a_segment_that_grows_much_remains_the_same_object():
    linker = Linker(LinkOptions(uses_motion=False))
    assert _link(linker, (1, 10, 10, 2, 2)) == {1: 1}
    assert _link(linker, (1, 4, 4, 14, 14)) == {1: 1}
    # Half of the smaller one is not enough.
    assert _link(linker, (1, 17, 17, 2, 2)) == {1: 2}


def test_stuff_and_groups_are_one_track_of_their_class():
    linker = Linker()
    ids = _frame((1, 0, 0, 5, 60), (2, 20, 0, 5, 5), (3, 20, 30, 5, 5))
    segments = [
        Segment(1, _ROAD, False),
        Segment(2, _PERSON, False),
        Segment(3, _PERSON, False),
    ]
    assert linker.add(ids, segments) == {1: 1, 2: 2, 3: 2}
    assert linker.add(np.roll(ids, 30, 1), segments) == {1: 1, 2: 2, 3: 2}


def test_segments_without_a_pixel_and_empty_frames_are_allowed():
    linker = Linker()
    assert linker.add(_frame(), [Segment(1, _CAR)]) == {}
    assert linker.add(np.zeros((0, 5), int), []) == {}
    assert _link(linker, (1, 0, 0, 3, 3)) == {1: 1}


def test_the_same_frames_give_the_same_ids():
    rng = np.random.default_rng(3)
    frames = [
        _frame(*((i, *rng.integers(0, 40, 2), 9, 9) for i in range(1, 9)))
        for _ in range(6)
    ]
    runs = [Linker(), Linker()]
    for ids in frames:
        segments = [Segment(i, _CAR + i % 2) for i in range(1, 9)]
        first, second = (linker.add(ids, segments) for linker in runs)
        assert first == second
        assert len(set(first.values())) == len(first)


def test_a_result_gets_the_ids_of_its_tracks():
    dataset = descriptor_lib.load("scenes")
    panoptic = np.full((10, 12), 2000)
    panoptic[2:5, 2:6], panoptic[6:9, 7:9] = 5002, 5001
    panoptic[0, :3] = panoptic[0, 5:7] = 6000
    result = PanopticResult.from_label(panoptic, dataset)
    linker = Linker()
    tracks = linker.add_result(result)
    linked = linking.apply(result, tracks)
    assert [i["id"] for i in linked.segments_info] == [1, 2, 3, 4]
    for info in linked.segments_info:
        assert info["area"] == (linked.segmentation == info["id"]).sum()
    np.testing.assert_array_equal(linked.semantic(), result.semantic())
    turned = PanopticResult.from_label(
        np.where(panoptic == 5001, 5009, panoptic), dataset
    )
    again = linking.apply(turned, linker.add_result(turned))
    np.testing.assert_array_equal(again.segmentation, linked.segmentation)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_gap": -1}, "--max_gap=-1 must be 0 or more"),
        ({"min_iou": 0.0}, "min_iou is 0.0. It must be above 0"),
        ({"min_shape_iou": float("nan")}, "must be above 0"),
    ],
)
def test_wrong_rules_are_one_sentence(values, message):
    with pytest.raises(errors.ConfigError, match=message):
        LinkOptions(**values)
