# SPDX-License-Identifier: Apache-2.0
import numpy as np
import tensorflow as tf

from deeplab2_like.losses import grid_masks


def test_a_batch_without_objects_has_finite_losses_and_gradients():
    logits = tf.Variable(np.full((2, 6, 3), 2.0, np.float32))
    masks = tf.Variable(np.ones((2, 4, 5, 5), np.float32))
    with tf.GradientTape(persistent=True) as tape:
        cells = grid_masks.compute_cell_loss(
            logits, np.full((2, 6), -1, np.int32), np.zeros(2, np.int32)
        )
        dice = grid_masks.compute_mask_loss(
            masks, np.zeros((2, 4, 5, 5), bool), np.zeros((2, 4), bool)
        )
    assert np.isfinite(cells).all()
    np.testing.assert_array_equal(dice, [0.0, 0.0])
    assert np.isfinite(tape.gradient(cells, logits)).all()
    np.testing.assert_array_equal(tape.gradient(dice, masks), 0.0)


def test_losses_are_means_over_the_masks_of_the_batch():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 3, 4, 4)).astype(np.float32)
    targets = rng.random((2, 3, 4, 4)) < 0.5
    is_mask = np.array([[True, True, True], [True, False, False]])
    loss = grid_masks.compute_mask_loss(logits, targets, is_mask)
    error = grid_masks.compute_dice_error(logits, targets).numpy()
    np.testing.assert_allclose(np.mean(loss), error[is_mask].mean(), rtol=1e-5)


def test_masks_without_a_pixel_do_not_count():
    rng = np.random.default_rng(0)
    logits = tf.constant(rng.normal(size=(2, 3, 4, 4)).astype(np.float32))
    targets = rng.random((2, 3, 4, 4)) < 0.5
    targets[:, 1] = False
    everything = np.ones((2, 3), bool)
    loss = grid_masks.compute_mask_loss(logits, targets, everything)
    error = grid_masks.compute_dice_error(logits, targets).numpy()
    np.testing.assert_allclose(
        np.mean(loss), error[:, [0, 2]].mean(), rtol=1e-5
    )


def test_one_class_is_enough():
    logits = np.array([[[3.0], [-3.0]]], np.float32)
    category = np.array([[0, -1]], np.int32)
    right = grid_masks.compute_cell_loss(logits, category, [1])
    wrong = grid_masks.compute_cell_loss(logits, -1 - category, [1])
    assert right[0] < 0.01 < wrong[0]


def test_extreme_logits_have_finite_gradients():
    logits = tf.Variable([-1e4, -50.0, 0.0, 50.0, 1e4])
    for flag in (True, False):
        with tf.GradientTape() as tape:
            error = grid_masks.compute_focal_error(logits, tf.fill([5], flag))
        assert np.isfinite(error).all()
        assert np.isfinite(tape.gradient(error, logits)).all()


def test_a_perfect_mask_costs_almost_nothing():
    targets = np.zeros((1, 8, 8), bool)
    targets[0, 2:5, 3:7] = True
    logits = np.where(targets, 30.0, -30.0).astype(np.float32)
    assert grid_masks.compute_dice_error(logits, targets)[0] < 1e-3
    assert grid_masks.compute_dice_error(-logits, targets)[0] > 0.99
