# SPDX-License-Identifier: Apache-2.0
import numpy as np

from deeplab2_like.metrics import instance_matching

_LARGE = 100**2


def _match(scores, ious, *, areas=None, true_areas=None, is_crowd=None):
    ious = np.asarray(ious, float)
    detections, objects = ious.shape
    return instance_matching.match_detections(
        np.asarray(scores, float),
        ious,
        np.full(detections, _LARGE) if areas is None else np.array(areas),
        np.full(objects, _LARGE)
        if true_areas is None
        else np.array(true_areas),
        np.zeros(objects, bool) if is_crowd is None else np.array(is_crowd),
    )


def test_the_best_detection_takes_an_object_first():
    matched = _match([0.2, 0.9], [[0.95], [0.6]])
    np.testing.assert_array_equal(matched.scores, [0.9, 0.2])
    # IoU 0.6 is enough up to the threshold 0.6; above, the object is free.
    np.testing.assert_array_equal(
        matched.is_matched[0].T,
        [[True] * 3 + [False] * 7, [False] * 3 + [True] * 7],
    )


def test_crowd_takes_any_number_of_detections_and_ignores_them():
    matched = _match([0.9, 0.8], [[1.0], [1.0]], is_crowd=[True])
    assert matched.is_matched.all()
    assert matched.is_ignored.all()
    assert matched.true_is_ignored.all()


def test_an_object_that_counts_comes_before_crowd_with_a_higher_iou():
    matched = _match([0.9], [[0.6, 1.0]], is_crowd=[False, True])
    np.testing.assert_array_equal(
        matched.is_ignored[0, :, 0], [False] * 3 + [True] * 7
    )


def test_what_lies_outside_of_an_area_range_is_ignored_there():
    matched = _match(
        [0.9, 0.8], [[1.0], [0.0]], areas=[50, 5000], true_areas=[50]
    )
    every, small, medium, large = range(4)
    np.testing.assert_array_equal(
        matched.true_is_ignored[:, 0], [False, False, True, True]
    )
    assert not matched.is_ignored[[every, small], :, 0].any()
    assert matched.is_ignored[[medium, large], :, 0].all()
    np.testing.assert_array_equal(
        matched.is_ignored[:, 0, 1], [False, True, False, True]
    )


def test_only_the_hundred_best_detections_count():
    scores = np.arange(150.0)
    matched = _match(scores, np.zeros((150, 1)))
    np.testing.assert_array_equal(matched.scores, scores[:49:-1])


def test_neither_detections_nor_objects_are_needed():
    assert _match([], np.zeros((0, 3))).is_matched.shape == (4, 10, 0)
    assert not _match([0.5, 0.4], np.zeros((2, 0))).is_matched.any()


def test_the_iou_with_crowd_is_the_part_of_the_detection():
    ious = instance_matching.compute_ious(
        np.array([[30, 30]]),
        np.array([40]),
        np.array([60, 60]),
        np.array([False, True]),
    )
    np.testing.assert_allclose(ious, [[30 / 70, 30 / 40]])
