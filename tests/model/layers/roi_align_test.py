# SPDX-License-Identifier: Apache-2.0
"""RoIAlign: pyramids, parts, gradients, labels, bfloat16."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model.layers import roi_align

STRIDES = (4, 8)


def _make_pyramid(rng, batch=2, channels=3):
    return [
        tf.constant(rng.normal(size=(batch, *size, channels)), tf.float32)
        for size in ((9, 12), (5, 6))
    ]


def _make_boxes(rng, batch=2, number=7):
    ends = np.sort(rng.uniform(-8, 60, (batch, number, 2, 2)), axis=2)
    boxes = np.concatenate([ends[:, :, 0], ends[:, :, 1]], axis=2)
    boxes[:, 0] = 0.0  # an empty place
    return tf.constant(boxes, tf.float32)


def _align(features, boxes, level, sampling):
    return roi_align.align_regions(
        features, boxes, level, strides=STRIDES, sampling=sampling
    )


def test_each_region_is_read_from_its_image_and_level():
    rng = np.random.default_rng(0)
    features, boxes = _make_pyramid(rng), _make_boxes(rng)
    level = tf.constant(rng.integers(0, 2, (2, 7)), tf.int32)
    sampling = roi_align.Sampling(3)
    together = _align(features, boxes, level, sampling)
    assert together.shape == (2, 7, 3, 3, 3)
    for image in range(2):
        for place in range(7):
            chosen = int(level[image, place])
            alone = roi_align.align_regions(
                [features[chosen][image : image + 1]],
                boxes[image : image + 1, place : place + 1],
                tf.zeros([1, 1], tf.int32),
                strides=[STRIDES[chosen]],
                sampling=sampling,
            )
            np.testing.assert_allclose(
                together[image, place], alone[0, 0], atol=1e-6
            )


@pytest.mark.parametrize("is_compiled", [False, True])
def test_parts_give_the_same_values_and_gradients(is_compiled, monkeypatch):
    rng = np.random.default_rng(1)
    features, boxes = _make_pyramid(rng), _make_boxes(rng)
    level = tf.constant(rng.integers(0, 2, (2, 7)), tf.int32)
    weight = tf.constant(rng.normal(size=(2, 7, 3, 3, 3)), tf.float32)

    def compute(*features):
        with tf.GradientTape() as tape:
            tape.watch(features)
            pooled = _align(features, boxes, level, roi_align.Sampling(3))
            total = tf.reduce_sum(pooled * weight)
        return pooled, tape.gradient(total, features)

    expected = compute(*features)
    monkeypatch.setattr(roi_align, "_MAX_VALUES", 2 * 2 * 12**2 * 3)
    actual = tf.function(compute, jit_compile=is_compiled)(*features)
    tf.nest.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
        actual,
        expected,
    )


def test_the_gradient_is_that_of_finite_differences():
    rng = np.random.default_rng(2)
    boxes = _make_boxes(rng, batch=1, number=3)
    level = tf.constant([[0, 0, 1]])
    features = _make_pyramid(rng, batch=1, channels=1)
    weight = tf.constant(rng.normal(size=(1, 3, 2, 2, 1)), tf.float32)

    def compute(*features):
        pooled = _align(features, boxes, level, roi_align.Sampling(2))
        return tf.reduce_sum(pooled * weight)

    theory, numeric = tf.test.compute_gradient(compute, features, delta=0.5)
    for a, b in zip(theory, numeric, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_bfloat16_features_are_averaged_in_float32():
    rng = np.random.default_rng(3)
    features, boxes = _make_pyramid(rng), _make_boxes(rng)
    level = tf.zeros([2, 7], tf.int32)
    low = [tf.cast(x, tf.bfloat16) for x in features]
    rounded = [tf.cast(x, tf.float32) for x in low]
    sampling = roi_align.Sampling(2)
    actual = _align(low, boxes, level, sampling)
    assert actual.dtype == tf.bfloat16
    expected = tf.cast(_align(rounded, boxes, level, sampling), tf.bfloat16)
    np.testing.assert_array_equal(
        tf.cast(actual, tf.float32), tf.cast(expected, tf.float32)
    )


def test_shares_of_labels_are_the_regions_of_their_masks():
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 4, (2, 30, 40)).astype(np.int32)
    boxes = _make_boxes(rng)
    wanted = rng.integers(1, 4, (2, 7)).astype(np.int32)
    sampling = roi_align.Sampling(5)
    shares = roi_align.align_labels(
        tf.constant(labels), boxes, tf.constant(wanted), sampling
    )
    for label in range(1, 4):
        masks = tf.constant((labels == label)[..., None], tf.float32)
        expected = roi_align.align_regions(
            [masks],
            boxes,
            tf.zeros([2, 7], tf.int32),
            strides=[1],
            sampling=sampling,
        )
        is_wanted = wanted == label
        np.testing.assert_allclose(
            shares[is_wanted], expected[is_wanted][..., 0], atol=1e-6
        )


def test_levels_follow_the_size_of_boxes():
    sides = np.array([0, 10, 111, 113, 223, 225, 449, 2000], np.float32)
    boxes = np.stack([0 * sides, 0 * sides, sides, sides], axis=1)
    level = roi_align.choose_levels(tf.constant(boxes), 4)
    np.testing.assert_array_equal(level, [0, 0, 0, 1, 1, 2, 3, 3])
    few = roi_align.choose_levels(tf.constant(boxes), 2)
    np.testing.assert_array_equal(few, [0, 0, 0, 1, 1, 1, 1, 1])


def test_an_unknown_batch_and_unknown_sizes_work():
    rng = np.random.default_rng(5)
    features, boxes = _make_pyramid(rng), _make_boxes(rng)
    level = tf.zeros([2, 7], tf.int32)
    expected = _align(features, boxes, level, roi_align.Sampling(2))
    unknown = tf.TensorSpec([None, None, None, 3])
    function = tf.function(
        lambda a, b, boxes, level: _align(
            [a, b], boxes, level, roi_align.Sampling(2)
        ),
        input_signature=[
            unknown,
            unknown,
            tf.TensorSpec([None, 7, 4]),
            tf.TensorSpec([None, 7], tf.int32),
        ],
    )
    np.testing.assert_allclose(
        function(*features, boxes, level), expected, atol=1e-5
    )


def test_more_points_than_needed_change_nothing(run_in):
    generator = np.random.default_rng(7)
    features = generator.normal(size=(1, 40, 60, 2)).astype(np.float32)
    start = generator.uniform(-4.0, 30.0, (1, 50, 2))
    boxes = np.concatenate(
        [start, start + generator.uniform(0.0, 28.0, (1, 50, 2))], axis=-1
    )
    # Whole pixels, the limit of 4 points, and a region that ends outside.
    boxes[0, :3] = [[0, 0, 28, 28], [3, 5, 17, 12], [30, 50, 70, 61]]
    boxes = boxes.astype(np.float32)

    def align(points):
        return run_in(
            lambda features, boxes: roi_align.align_regions(
                [features],
                boxes,
                tf.zeros([1, 50], tf.int32),
                strides=[1],
                sampling=roi_align.Sampling(7, points, is_adaptive=True),
            )
        )(tf.constant(features), tf.constant(boxes))

    few, many = align(6), align(11)
    np.testing.assert_allclose(few, many, atol=1e-5)


def test_regions_with_too_few_points_are_still_averages():
    taps = roi_align.compute_taps(
        tf.constant([0.0, -30.0]),
        tf.constant([90.0, 200.0]),
        tf.constant([100, 100]),
        roi_align.Sampling(7, 4, is_adaptive=True),
    )
    place, weight = taps.place.numpy(), taps.weight.numpy()
    np.testing.assert_allclose(weight[0].sum(-1), 1.0, atol=1e-6)
    middle = (place[0] * weight[0]).sum(-1)
    np.testing.assert_allclose(
        middle, 90 / 7 * (np.arange(7) + 0.5) - 0.5, atol=0.5
    )
    # What is outside of the map counts as zero.
    assert weight[1].sum(-1)[0] == 0.0
    assert place.min() >= 0
    assert place.max() < 100
