# SPDX-License-Identifier: Apache-2.0
"""Losses of boxes, classes and masks, against NumPy and by properties."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.config.rules import pyramid as pyramid_rules
from deeplab2_like.losses import cross_entropy, detection


def _softplus(x):
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


def test_smooth_l1_is_quadratic_below_beta_and_linear_above():
    error = tf.constant([-2.0, -0.1, 0.0, 0.1, 0.5, 3.0])
    np.testing.assert_allclose(
        detection.compute_smooth_l1(error, 0.5),
        [1.75, 0.01, 0.0, 0.01, 0.25, 2.75],
        rtol=1e-6,
        atol=1e-8,
    )
    np.testing.assert_allclose(
        detection.compute_smooth_l1(error, 0.0), np.abs(error)
    )


def test_the_objectness_loss_divides_by_the_number_of_places():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 8))
    is_object, is_chosen = rng.random((2, 2, 8)) < 0.5
    loss = detection.compute_objectness_loss(
        tf.constant(logits, tf.float32), is_object, is_chosen
    )
    error = _softplus(np.where(is_object, -logits, logits)) * is_chosen
    np.testing.assert_allclose(loss, error.sum(axis=1) / 8, rtol=1e-5)


def test_regions_of_all_images_count_the_same():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(2, 6, 4))
    labels = rng.integers(0, 4, (2, 6))
    is_chosen = np.arange(6) < np.array([[1], [5]])
    loss = detection.compute_class_loss(
        tf.constant(logits, tf.float32),
        tf.constant(labels, tf.int32),
        tf.constant(is_chosen),
    )
    log_sum = np.log(np.exp(logits).sum(axis=-1))
    chosen = np.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    expected = (log_sum - chosen)[is_chosen].mean()
    assert loss.numpy().mean() == pytest.approx(expected, rel=1e-5)


def test_box_codes_are_divided_by_all_regions():
    rng = np.random.default_rng(2)
    codes, targets = rng.normal(size=(2, 2, 6, 4))
    is_chosen = np.arange(6) < np.array([[3], [6]])
    is_positive = np.arange(6) < np.array([[1], [2]])
    loss = detection.compute_region_code_loss(
        tf.constant(codes, tf.float32),
        tf.constant(targets, tf.float32),
        tf.constant(is_positive),
        tf.constant(is_chosen),
        beta=0.0,
    )
    expected = np.abs(codes - targets)[is_positive].sum() / 9
    assert loss.numpy().mean() == pytest.approx(expected, rel=1e-5)


def test_the_mask_loss_is_the_mean_over_positive_regions():
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(2, 3, 4, 4))
    targets = (rng.random((2, 3, 4, 4)) < 0.5).astype(float)
    is_positive = np.array([[True, True, False], [False] * 3])
    loss = detection.compute_mask_loss(
        tf.constant(logits, tf.float32),
        tf.constant(targets, tf.float32),
        tf.constant(is_positive),
    )
    error = _softplus(logits) - logits * targets
    assert loss.numpy().mean() == pytest.approx(
        error[is_positive].mean(), rel=1e-5
    )


def test_batches_without_objects_have_finite_losses_and_gradients():
    nothing = tf.zeros([2, 3], tf.bool)
    codes = tf.fill([2, 3, 4], 2.0)
    logits = tf.ones([2, 3, 5])
    masks = tf.ones([2, 3, 4, 4])
    with tf.GradientTape() as tape:
        tape.watch([codes, logits, masks])
        losses = [
            detection.compute_region_code_loss(
                codes,
                tf.fill([2, 3, 4], float("inf")),
                nothing,
                nothing,
                beta=0.1,
            ),
            detection.compute_class_loss(
                logits, tf.zeros([2, 3], tf.int32), nothing
            ),
            detection.compute_mask_loss(masks, masks, nothing),
        ]
        total = tf.add_n(losses)
    np.testing.assert_array_equal(total, [0, 0])
    for gradient in tape.gradient(total, [codes, logits, masks]):
        np.testing.assert_array_equal(gradient, tf.zeros_like(gradient))


def test_pixels_of_all_images_count_the_same_in_the_cross_entropy():
    rng = np.random.default_rng(4)
    logits = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    labels = rng.integers(0, 5, (2, 3, 4)).astype(np.int32)
    labels[0, :2] = 255
    loss = cross_entropy.compute_mean_cross_entropy(
        tf.constant(logits), tf.constant(labels), ignore_label=255
    )
    is_counted = labels != 255
    log_sum = np.log(np.exp(logits).sum(axis=-1))[is_counted]
    chosen = logits[is_counted][np.arange(16), labels[is_counted]]
    assert loss.numpy().mean() == pytest.approx(
        (log_sum - chosen).mean(), rel=1e-5
    )


def test_an_image_that_is_all_void_costs_nothing():
    loss = cross_entropy.compute_mean_cross_entropy(
        tf.ones([1, 2, 2, 3]), tf.fill([1, 2, 2], 255), ignore_label=255
    )
    np.testing.assert_array_equal(loss, [0])


def test_all_losses_have_the_names_of_the_config_and_their_own_shares():
    rng = np.random.default_rng(5)
    is_object, is_chosen = np.array([[[1, 0, 0, 0]], [[1, 1, 1, 0]]], bool)

    def draw(*shape):
        return tf.constant(rng.normal(size=(1, *shape)), tf.float32)

    outputs = {
        "anchor_logits": draw(4),
        "anchor_codes": tf.fill([1, 4, 4], 0.5),
        "anchor_code_targets": tf.zeros([1, 4, 4]),
        "anchor_is_object": tf.constant(is_object),
        "anchor_is_chosen": tf.constant(is_chosen),
        "region_logits": draw(4, 3),
        "region_class": tf.constant([[1, 2, 2, 2]]),
        "region_codes": tf.fill([1, 4, 4], 0.5),
        "region_code_targets": tf.zeros([1, 4, 4]),
        "region_is_object": tf.constant(is_object),
        "region_is_chosen": tf.constant(is_chosen),
        "mask_logits": draw(2, 3, 3),
        "mask_targets": tf.ones([1, 2, 3, 3]),
        "mask_is_object": tf.constant(is_object[:, :2]),
    }
    losses = detection.compute_instance_losses(outputs)
    assert set(losses) == set(pyramid_rules.MASK_RCNN_LOSSES)
    # One object of four numbers: of 4 anchors, and of 3 chosen regions.
    np.testing.assert_allclose(losses["proposal_box_loss"], [4 * 0.5 / 4])
    np.testing.assert_allclose(losses["box_loss"], [4 * 0.5 / 3], rtol=1e-6)
    smooth = detection.compute_instance_losses(outputs, proposal_beta=1.0)
    np.testing.assert_allclose(smooth["proposal_box_loss"], [4 * 0.125 / 4])
    np.testing.assert_array_equal(smooth["box_loss"], losses["box_loss"])
