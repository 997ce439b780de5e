# SPDX-License-Identifier: Apache-2.0
"""The soft panoptic quality: its values and its gradient."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.losses import soft_panoptic_quality as soft


def test_a_perfect_prediction_costs_nearly_nothing():
    overlap = tf.ones([1, 3])
    loss = soft.compute_soft_quality_loss(overlap, tf.ones([1, 3], tf.bool))
    assert 0.0 <= float(loss[0]) < 0.01


def test_a_steep_sigmoid_gives_the_panoptic_quality():
    overlap = tf.constant([[0.9, 0.7, 0.3, 0.0]])
    is_true = tf.constant([[True, True, True, False]])
    loss = soft.compute_soft_quality_loss(
        overlap, is_true, tf.constant([1.0]), steepness=1e4
    )
    # Two found; one missed, whose prediction is false; one more is false.
    quality = (0.9 + 0.7) / (2 + 0.5 + 0.5 + 0.5)
    assert np.exp(-float(loss[0])) == pytest.approx(quality, rel=1e-4)


def test_images_without_segments_cost_nothing():
    overlap = tf.zeros([2, 3])
    with tf.GradientTape() as tape:
        tape.watch(overlap)
        loss = soft.compute_soft_quality_loss(
            overlap, tf.zeros([2, 3], tf.bool), tf.ones([2])
        )
    np.testing.assert_array_equal(loss, [0, 0])
    np.testing.assert_array_equal(
        tape.gradient(loss, overlap), np.zeros((2, 3))
    )


def _make_inputs(seed):
    rng = np.random.default_rng(seed)
    logits = tf.constant(rng.normal(size=(2, 3, 4, 5)), tf.float32)
    labels = rng.integers(0, 4, (2, 3, 4)).astype(np.int32)
    labels[0, 0] = 255
    masks = tf.constant(rng.normal(size=(2, 3, 4, 4)), tf.float32)
    targets = tf.constant(rng.random((2, 3, 4, 4)) < 0.5, tf.float32)
    return logits, tf.constant(labels), masks, targets


def _compute(logits, labels, masks, targets):
    overlap, occurs, false = soft.compute_semantic_overlap(
        logits, labels, ignore_label=255
    )
    probability = tf.sigmoid(masks[:, :, 0, 0])
    masks_overlap = soft.compute_mask_overlap(masks, targets, probability)
    return soft.compute_soft_quality_loss(
        tf.concat([overlap, masks_overlap], axis=1),
        tf.concat([occurs, tf.ones([2, 3], tf.bool)], axis=1),
        false,
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_is_that_of_finite_differences(seed):
    logits, labels, masks, targets = _make_inputs(seed)

    def compute(logits, masks):
        return _compute(logits, labels, masks, targets)

    theory, numeric = tf.test.compute_gradient(
        compute, [logits, masks], delta=1e-2
    )
    for a, b in zip(theory, numeric, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3 * np.abs(b).max())


def test_modes_agree():
    inputs = _make_inputs(5)
    expected = _compute(*inputs)
    for is_compiled in (False, True):
        function = tf.function(_compute, jit_compile=is_compiled)
        np.testing.assert_allclose(function(*inputs), expected, rtol=1e-5)


def test_a_better_mask_costs_less():
    logits, labels, _, targets = _make_inputs(6)
    losses = [
        tf.reduce_sum(
            _compute(logits, labels, size * (2 * targets - 1), targets)
        )
        for size in (-2.0, 0.0, 2.0)
    ]
    assert losses[0] > losses[1] > losses[2]
