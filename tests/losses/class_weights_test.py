# SPDX-License-Identifier: Apache-2.0
"""Weights of classes: their formulas, and what they do in the losses."""

import functools
import math

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.losses import class_weights, cross_entropy, pixelwise

IGNORE = 3
_WEIGHTS = (0.5, 4.0, 1.5, 1.0)


def _make_case(seed, shape=(2, 6, 7)):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(*shape, 4)).astype(np.float32)
    labels = rng.integers(0, 4, shape).astype(np.int32)
    pixel_weights = rng.uniform(0.5, 3.0, shape).astype(np.float32)
    return logits, labels, pixel_weights


def _compute_errors(logits, labels, weights):
    """Computes the weighted errors by NumPy, 0 where ignored."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    error = np.log(np.exp(shifted).sum(axis=-1))
    error -= np.take_along_axis(shifted, labels[..., None], axis=-1)[..., 0]
    error *= np.array(weights, np.float32)[labels]
    return np.where(labels == IGNORE, 0.0, error)


def _compute_pixelwise(logits, labels, pixel_weights, **options):
    return pixelwise.compute_semantic_loss(
        logits, labels, pixel_weights, ignore_label=IGNORE, **options
    )


def _compute_mean(logits, labels, _, **options):
    return cross_entropy.compute_mean_cross_entropy(
        logits, labels, ignore_label=IGNORE, **options
    )


def _compute_hardest(logits, labels, _, **options):
    return cross_entropy.compute_hardest_cross_entropy(
        logits, labels, ignore_label=IGNORE, share=0.25, **options
    )


# Formulas.


def test_inverse_frequency_makes_all_classes_count_alike():
    pixels = np.array([900, 90, 0, 10])
    weights = class_weights.compute_inverse_frequency(pixels)
    np.testing.assert_allclose(weights[[0, 1, 3]] * pixels[[0, 1, 3]], 1000 / 3)
    assert weights[2] == 1.0
    # The mean weight of a pixel is 1, so that the loss keeps its size.
    np.testing.assert_allclose((weights * pixels).sum(), pixels.sum())


def test_median_frequency_is_that_of_eigen_and_fergus():
    # Three images of 100 pixels; the last class is in one of them only.
    images = np.array([[80, 20, 0], [90, 10, 0], [60, 20, 20]])
    pixels = images.sum(axis=0)
    image_pixels = ((images > 0) * 100).sum(axis=0)
    weights = class_weights.compute_median_frequency(pixels, image_pixels)
    frequency = [230 / 300, 50 / 300, 20 / 100]
    np.testing.assert_allclose(weights, 0.2 / np.array(frequency))


def test_a_class_of_few_pixels_does_not_outweigh_all_others():
    pixels = np.array([1_000_000, 5])
    image_pixels = np.array([1_000_000, 10_000])
    assert class_weights.compute_inverse_frequency(pixels, 50.0)[1] == 50.0
    limited = class_weights.compute_median_frequency(pixels, image_pixels, 7.0)
    assert limited[1] == 7.0


@pytest.mark.parametrize("pixels", [[0, 0, 0], [0, 7, 0]])
def test_classes_that_do_not_occur_have_the_weight_one(pixels):
    pixels = np.array(pixels)
    for weights in (
        class_weights.compute_inverse_frequency(pixels),
        class_weights.compute_median_frequency(pixels, pixels),
    ):
        np.testing.assert_array_equal(weights, [1.0, 1.0, 1.0])


# Losses.


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_weights_decide_which_pixels_are_the_hardest(share):
    logits, labels, pixel_weights = _make_case(0)
    loss = _compute_pixelwise(
        logits,
        labels,
        pixel_weights,
        top_k_percent=share,
        class_weights=_WEIGHTS,
    )
    error = _compute_errors(logits, labels, _WEIGHTS) * pixel_weights
    keep = round(share * 42)
    kept = [np.sort(row.ravel())[::-1][:keep] for row in error]
    expected = [row.sum() / np.count_nonzero(row) for row in kept]
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_the_mean_is_over_pixels_and_not_over_weights():
    logits, labels, _ = _make_case(1)
    loss = _compute_mean(logits, labels, None, class_weights=_WEIGHTS)
    error = _compute_errors(logits, labels, _WEIGHTS)
    expected = error.sum() / np.count_nonzero(labels != IGNORE)
    np.testing.assert_allclose(np.mean(loss), expected, rtol=1e-5)


def test_the_hardest_pixels_of_a_batch_are_chosen_by_weighted_errors():
    logits, labels, _ = _make_case(2)
    loss = _compute_hardest(logits, labels, None, class_weights=_WEIGHTS)
    error = _compute_errors(logits, labels, _WEIGHTS)
    keep = math.ceil(0.25 * error.size)
    expected = np.sort(error.ravel())[::-1][:keep].mean()
    np.testing.assert_allclose(np.mean(loss), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "compute",
    [
        functools.partial(_compute_pixelwise, top_k_percent=0.3),
        _compute_mean,
        _compute_hardest,
    ],
)
def test_weights_of_one_change_no_bit(compute):
    case = _make_case(3)
    np.testing.assert_array_equal(
        compute(*case, class_weights=(1.0,) * 4), compute(*case)
    )


@pytest.mark.parametrize("jit_compile", [False, True])
def test_graphs_and_xla_give_the_eager_result(jit_compile):
    case = [tf.constant(values) for values in _make_case(4)]
    compute = functools.partial(
        _compute_pixelwise, top_k_percent=0.3, class_weights=_WEIGHTS
    )
    graph = tf.function(compute, jit_compile=jit_compile, autograph=False)
    np.testing.assert_allclose(graph(*case), compute(*case), rtol=1e-5)


def _train(weights, steps=150):
    """Trains a classifier of pixels of which 1 % are of class 1.

    The classes overlap: a pixel that looks like class 1 is of class 0 more
    often than not.

    Returns:
        Share of the pixels of class 1 that are found, and of those of class 0
        that are taken for class 1.
    """
    rng = np.random.default_rng(0)
    labels = (rng.random((2, 64, 64)) < 0.01).astype(np.int32)
    features = rng.normal(size=(2, 64, 64, 3)).astype(np.float32)
    features[..., 0] += 2.0 * labels
    kernel, bias = tf.Variable(tf.zeros([3, 2])), tf.Variable(tf.zeros([2]))

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            loss = _compute_pixelwise(
                features @ kernel + bias,
                labels,
                tf.ones(labels.shape),
                class_weights=weights,
            )
        for variable, gradient in zip(
            (kernel, bias), tape.gradient(loss, [kernel, bias]), strict=True
        ):
            variable.assign_sub(2.0 * gradient)

    for _ in range(steps):
        step()
    predicted = np.argmax(features @ kernel.numpy() + bias.numpy(), axis=-1)
    return predicted[labels == 1].mean(), predicted[labels == 0].mean()


def test_a_class_of_one_percent_is_learned_with_weights_and_not_without():
    found, false = _train(None)
    assert found < 0.1
    pixels = np.array([8192 - 82, 82])
    weights = class_weights.compute_inverse_frequency(pixels)
    found, false = _train([float(weight) for weight in weights])
    assert found > 0.75
    assert false < 0.25
