# SPDX-License-Identifier: Apache-2.0
"""Votes, areas, numbers and means of segments on scenes drawn as text."""

import dataclasses

import numpy as np
import tensorflow as tf

from deeplab2_like.postprocess import options
from deeplab2_like.postprocess.pixels import merging

RULES = options.ClassRules(
    num_classes=4,
    thing_ids=(2, 3),
    ignore_label=9,
    label_divisor=10,
    stuff_area_limit=3,
)


def _parse(text):
    """Reads a map: a dot is 0; in classes, 9 is outside of the image."""
    rows = text.replace(".", "0").split()
    return np.array([[int(digit) for digit in row] for row in rows], np.int32)


def _merge(semantic, instance, scores=(0.5,) * 9, **changes):
    semantic, instance = _parse(semantic), _parse(instance)
    return merging.merge(
        tf.constant(np.minimum(semantic, 3)),
        tf.constant(instance),
        tf.constant(semantic < 9),
        tf.constant(scores, tf.float32),
        dataclasses.replace(RULES, **changes),
    )


def test_most_pixels_decide_and_the_first_class_of_equals():
    merged = _merge("2333 2233", "1111 2222")
    assert merged.panoptic.numpy().tolist() == [[31] * 4, [21] * 4]


def test_numbers_follow_the_first_pixels():
    merged = _merge("222333", "531462")
    assert merged.panoptic.numpy().tolist() == [[21, 22, 23, 31, 32, 33]]


def test_stuff_of_the_smallest_area_is_kept():
    merged = _merge("000 11.", "... ...", stuff_area_limit=4)
    assert merged.panoptic.numpy().tolist() == [[0] * 3, [90, 90, 0]]
    merged = _merge("000 111", "... ...", stuff_area_limit=4)
    assert np.all(merged.panoptic == 90)


def test_things_without_a_center_are_void():
    assert np.all(_merge("2233 2233", ".... ....").panoptic == 90)


def test_pixels_outside_of_the_image_count_for_nothing():
    merged = _merge("9922 9933 9933", "1112 1122 1122")
    expected = [[90, 90, 21, 31], [90, 90, 31, 31], [90, 90, 31, 31]]
    assert merged.panoptic.numpy().tolist() == expected
    assert merged.slot_area.numpy()[:2].tolist() == [1, 5]


def test_instances_beyond_the_divisor_are_dropped_by_their_scores():
    scores = [0.3, 0.9, 0.1, 0.3, 0.8]
    merged = _merge("22222", "12345", scores, label_divisor=4)
    # Of the two scores 0.3 the first is kept. Void is 9 * 4.
    assert merged.panoptic.numpy().tolist() == [[9, 10, 36, 36, 11]]
    assert int(merged.num_dropped) == 2
    assert np.nonzero(merged.is_valid)[0].tolist() == [0, 1, 4]


def _merge_known_twin(semantic, instance, is_valid, category, scores, r):
    """Returns panoptic ids and the drop count: things first, then stuff."""
    panoptic = np.full(semantic.shape, r.void_id)
    number_of = dict.fromkeys(range(r.num_classes), 0)
    members = np.where(is_valid, instance, 0)
    places = {
        i: np.flatnonzero(members == i) for i in range(1, len(scores) + 1)
    }
    there = [i for i, found in places.items() if len(found)]
    kept = []
    for c in range(r.num_classes):
        of_class = [i for i in there if category[i - 1] == c]
        of_class.sort(key=lambda i: -scores[i - 1])
        kept += of_class[: r.label_divisor - 1]
    for i in sorted(kept, key=lambda i: places[i][0]):
        c = category[i - 1]
        number_of[c] += 1
        panoptic[members == i] = c * r.label_divisor + number_of[c]
    for c in r.stuff_ids:
        region = (semantic == c) & (instance == 0) & is_valid
        if region.sum() >= r.stuff_area_limit:
            panoptic[region] = c * r.label_divisor
    return panoptic, len(there) - len(kept)


def test_1000_cases_with_known_classes_equal_the_twin():
    class_rules = dataclasses.replace(RULES, label_divisor=3)
    merge = tf.function(
        lambda *x: merging.merge_known(*x, class_rules),
        jit_compile=True,
        autograph=False,
    )
    rng = np.random.default_rng(0)
    number = 6
    for _ in range(1000):
        # Few instances, none, or all of one class; many equal scores.
        semantic = rng.integers(0, 4, (7, 9))
        instance = rng.integers(0, number + 1, (7, 9))
        instance[rng.random((7, 9)) < rng.choice([0.0, 0.8, 1.0])] = 0
        is_valid = rng.random((7, 9)) < rng.choice([0.5, 1.0])
        category = rng.choice([2, 3], number)
        if rng.random() < 0.3:
            category[:] = 3
        scores = rng.integers(1, 4, number) / 4
        merged = merge(
            tf.constant(semantic, tf.int32),
            tf.constant(instance, tf.int32),
            tf.constant(is_valid),
            tf.constant(category, tf.int32),
            tf.constant(scores, tf.float32),
        )
        panoptic, dropped = _merge_known_twin(
            semantic, instance, is_valid, category, scores, class_rules
        )
        np.testing.assert_array_equal(merged.panoptic, panoptic)
        assert merged.num_dropped == dropped
