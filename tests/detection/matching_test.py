# SPDX-License-Identifier: Apache-2.0
"""Matching of boxes with true ones, against a twin in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.detection import matching


def _match_twin(boxes, true_boxes, is_true, overlap_of, *, takes_best):
    table = overlap_of(boxes, true_boxes) * is_true
    overlap = table.max(axis=1)
    label = np.where(overlap < np.float32(0.3), 0, -1)
    label[overlap >= np.float32(0.6)] = 1
    if takes_best:
        best = table.max(axis=0)
        label[((table == best) & (best > 0)).any(axis=1)] = 1
    return table.argmax(axis=1), overlap, label


def _make_case(rng, random_boxes, num_boxes=20, slots=10):
    number = rng.choice([0, 1, 3, slots])
    is_true = np.arange(slots) < number
    rng.shuffle(is_true)
    return random_boxes(rng, num_boxes), random_boxes(rng, slots), is_true


@pytest.mark.parametrize("takes_best", [False, True])
def test_1000_cases_equal_the_twin(
    run_in, random_boxes, overlap_of, takes_best
):
    rng = np.random.default_rng(0)
    cases = [_make_case(rng, random_boxes) for _ in range(1000)]

    @run_in
    def match(boxes, true_boxes, is_true):
        return matching.match_boxes(
            boxes,
            true_boxes,
            is_true,
            positive_overlap=0.6,
            negative_overlap=0.3,
            takes_best=takes_best,
        )

    matches = match(
        *(tf.constant(np.stack(x)) for x in zip(*cases, strict=True))
    )
    twins = [
        _match_twin(*case, overlap_of, takes_best=takes_best) for case in cases
    ]
    for actual, expected in zip(matches, zip(*twins, strict=True), strict=True):
        np.testing.assert_array_equal(actual, np.stack(expected))


def test_boxes_that_all_images_share_are_matched_in_each(random_boxes):
    rng = np.random.default_rng(1)
    boxes = random_boxes(rng, 30)
    true_boxes = np.stack([random_boxes(rng, 3) for _ in range(2)])
    is_true = np.ones((2, 3), bool)

    def match(boxes):
        return matching.match_boxes(
            tf.constant(boxes),
            tf.constant(true_boxes),
            tf.constant(is_true),
            positive_overlap=0.5,
            negative_overlap=0.5,
            takes_best=True,
        )

    shared = match(boxes[None])
    repeated = match(np.stack([boxes, boxes]))
    for one, other in zip(shared, repeated, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.shape == (2, 30)


def test_without_objects_all_boxes_are_negative(random_boxes):
    rng = np.random.default_rng(2)
    matches = matching.match_boxes(
        tf.constant(random_boxes(rng, 5)[None]),
        tf.zeros([1, 4, 4]),
        tf.zeros([1, 4], tf.bool),
        positive_overlap=0.7,
        negative_overlap=0.3,
        takes_best=True,
    )
    assert not matches.label.numpy().any()
    assert not matches.index.numpy().any()
