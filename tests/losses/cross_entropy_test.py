# SPDX-License-Identifier: Apache-2.0
"""Cross entropy of the hardest pixels of a batch."""

import math

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.losses import cross_entropy

IGNORE = 255


def _compute_twin(logits, labels, share):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    error = np.log(np.exp(shifted).sum(axis=-1))
    known = np.where(labels == IGNORE, 0, labels)
    error -= np.take_along_axis(shifted, known[..., None], axis=-1)[..., 0]
    error = np.where(labels == IGNORE, 0.0, error)
    keep = math.ceil(share * error.size)
    return np.sort(error.ravel())[::-1][:keep].mean()


def _make_case(rng, shape=(2, 6, 7)):
    logits = rng.normal(size=(*shape, 4)).astype(np.float32)
    labels = rng.integers(0, 4, shape).astype(np.int32)
    labels[rng.random(shape) < rng.choice([0.0, 0.3, 0.9, 1.0])] = IGNORE
    return logits, labels


@pytest.mark.parametrize("share", [0.25, 0.2, 0.01, 1.0])
@pytest.mark.parametrize("mode", ["eager", "unknown", "xla"])
def test_the_loss_equals_sorting(share, mode):
    def compute(logits, labels):
        return cross_entropy.compute_hardest_cross_entropy(
            logits, labels, ignore_label=IGNORE, share=share
        )

    if mode == "unknown":
        compute = tf.function(
            compute,
            input_signature=[
                tf.TensorSpec([None, None, None, 4]),
                tf.TensorSpec([None, None, None], tf.int32),
            ],
        )
    elif mode == "xla":
        compute = tf.function(compute, jit_compile=True)
    rng = np.random.default_rng(0)
    for _ in range(20):
        logits, labels = _make_case(rng)
        loss = compute(tf.constant(logits), tf.constant(labels))
        assert loss.shape == (2,)
        np.testing.assert_allclose(
            np.mean(loss),
            _compute_twin(logits, labels, share),
            rtol=1e-5,
            atol=1e-6,
        )


def test_each_image_contributes_its_own_pixels():
    """The hardest pixels of a batch may all be in one image."""
    logits = np.zeros((2, 4, 4, 2), np.float32)
    logits[1, ..., 1] = 5.0
    loss = cross_entropy.compute_hardest_cross_entropy(
        logits, np.zeros((2, 4, 4), np.int32), ignore_label=IGNORE, share=0.25
    )
    assert loss[0] == 0.0
    np.testing.assert_allclose(np.mean(loss), np.log1p(np.exp(5.0)), rtol=1e-5)


def test_gradients_reach_the_kept_pixels_alone():
    rng = np.random.default_rng(1)
    logits, labels = _make_case(rng, (1, 5, 8))
    labels = np.where(labels == IGNORE, 0, labels)
    logits = tf.Variable(logits)
    with tf.GradientTape() as tape:
        loss = cross_entropy.compute_hardest_cross_entropy(
            logits, labels, ignore_label=IGNORE, share=0.25
        )
    gradient = tape.gradient(loss, logits).numpy()
    assert np.count_nonzero(np.abs(gradient).max(axis=-1)) == 10


@pytest.mark.parametrize("keep", [1, 3, 4, 6, 8])
def test_equal_values_share_what_is_left_for_them(keep):
    values = np.array([3.0, 1.0, 2.0, 2.0, 0.0, 2.0, 5.0, 0.0], np.float32)
    weight = cross_entropy.weigh_largest(tf.constant(values), keep)
    np.testing.assert_allclose(np.sum(weight), keep, rtol=1e-6)
    expected = np.sort(values)[::-1][:keep].sum()
    np.testing.assert_allclose(np.sum(weight * values), expected, rtol=1e-6)
    for value in np.unique(values):
        assert len(set(weight.numpy()[values == value])) == 1


def test_all_pixels_ignored_gives_zero_and_no_nan():
    loss = cross_entropy.compute_hardest_cross_entropy(
        np.ones((2, 3, 3, 2), np.float32),
        np.full((2, 3, 3), IGNORE, np.int32),
        ignore_label=IGNORE,
        share=0.25,
    )
    np.testing.assert_array_equal(loss, [0.0, 0.0])
