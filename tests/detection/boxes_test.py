# SPDX-License-Identifier: Apache-2.0
"""Overlaps, clipping and coding of boxes."""

import math

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.detection import boxes as boxes_lib

WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def test_overlaps_of_1000_cases_equal_the_twin(
    run_in, random_boxes, overlap_of
):
    rng = np.random.default_rng(0)
    compute = run_in(boxes_lib.compute_overlap)
    cases = [(random_boxes(rng, 6), random_boxes(rng, 5)) for _ in range(1000)]
    first, second = (np.stack(x) for x in zip(*cases, strict=True))
    actual = compute(tf.constant(first), tf.constant(second)).numpy()
    expected = [overlap_of(*case) for case in cases]
    np.testing.assert_array_equal(actual, np.stack(expected))


def test_boxes_with_their_ends_in_the_wrong_order_overlap_with_nothing():
    boxes = tf.constant([[9.0, 9.0, 1.0, 1.0], [0.0, 0.0, 10.0, 10.0]])
    overlap = boxes_lib.compute_overlap(boxes, boxes)
    np.testing.assert_array_equal(overlap, [[0, 0], [0, 1]])
    np.testing.assert_array_equal(boxes_lib.compute_area(boxes), [0, 100])


def _encode_twin(box, anchor):
    sizes = [np.maximum(x[2:] - x[:2], 1e-3) for x in (box, anchor)]
    centers = [(x[2:] + x[:2]) / 2 for x in (box, anchor)]
    shift = (centers[0] - centers[1]) / sizes[1]
    code = np.concatenate([shift, np.log(sizes[0] / sizes[1])])
    return code * np.array(WEIGHTS)


def test_codes_of_1000_cases_equal_the_twin_and_decode_to_the_boxes(
    run_in, random_boxes
):
    rng = np.random.default_rng(1)
    boxes, anchors = (random_boxes(rng, 1000) for _ in range(2))
    anchors[:, 2:] += 1.0
    encode = run_in(lambda a, b: boxes_lib.encode(a, b, WEIGHTS))
    decode = run_in(lambda a, b: boxes_lib.decode(a, b, WEIGHTS))
    codes = encode(tf.constant(boxes), tf.constant(anchors))
    pairs = zip(boxes.astype(float), anchors.astype(float), strict=True)
    expected = np.array([_encode_twin(*pair) for pair in pairs])
    np.testing.assert_allclose(codes, expected, rtol=1e-5, atol=1e-5)
    again = decode(codes, tf.constant(anchors))
    is_small_enough = np.all(codes[:, 2:] / 5.0 < 4.0, axis=1)
    np.testing.assert_allclose(
        again[is_small_enough], boxes[is_small_enough], atol=2e-3
    )


def _decode_twin(code, anchor):
    size = anchor[2:] - anchor[:2]
    center = anchor[:2] + size / 2
    code = code / np.array(WEIGHTS)
    center = center + code[:2] * size
    size = np.exp(np.minimum(code[2:], math.log(62.5))) * size
    return np.concatenate([center - size / 2, center + size / 2])


def test_1000_decoded_codes_equal_the_twin_and_are_the_same_in_every_mode(
    run_in, random_boxes
):
    rng = np.random.default_rng(2)
    anchors = random_boxes(rng, 1000, side=512)
    codes = rng.normal(0, 5, (1000, 4)).astype(np.float32)
    codes[rng.random((1000, 4)) < 0.1] = 0.0
    codes[:20] *= 100.0
    decode = run_in(lambda a, b: boxes_lib.decode(a, b, WEIGHTS))
    actual = decode(tf.constant(codes), tf.constant(anchors)).numpy()
    pairs = zip(codes.astype(float), anchors.astype(float), strict=True)
    expected = np.array([_decode_twin(*pair) for pair in pairs])
    scale = np.maximum(np.abs(expected).max(axis=1, keepdims=True), 512)
    assert np.max(np.abs(actual - expected) / scale) < 1e-6
    eager = boxes_lib.decode(tf.constant(codes), tf.constant(anchors), WEIGHTS)
    np.testing.assert_array_equal(actual, eager)


def test_codes_that_are_no_numbers_give_no_boxes():
    codes = tf.constant([[0.0, float("nan"), 0.0, 0.0], [0.0] * 4])
    boxes = boxes_lib.decode(
        codes, tf.constant([[0.0, 0.0, 4.0, 4.0]]), WEIGHTS
    )
    assert np.isnan(boxes[0]).all()
    np.testing.assert_array_equal(boxes[1], [0, 0, 4, 4])


def test_decoding_bounds_the_growth_of_a_box():
    anchor = tf.constant([[0.0, 0.0, 2.0, 2.0]])
    code = tf.constant([[0.0, 0.0, 1e9, 1e9]])
    y1, _, y2, _ = boxes_lib.decode(code, anchor, (1, 1, 1, 1))[0].numpy()
    assert y2 - y1 == pytest.approx(2 * 62.5)
    assert pytest.approx(math.log(62.5)) == boxes_lib.MAX_LOG_SCALE


def test_clipping_keeps_the_ends_inside_of_each_image():
    boxes = tf.constant([[[-3.0, 2.0, 5.0, 99.0]], [[1.0, 1.0, 2.0, 2.0]]])
    clipped = boxes_lib.clip(boxes, tf.constant([[4, 6], [9, 9]]))
    np.testing.assert_array_equal(clipped, [[[0, 2, 4, 6]], [[1, 1, 2, 2]]])
