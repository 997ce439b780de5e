# SPDX-License-Identifier: Apache-2.0
"""Means over segments: exact sums, and corrections of single pixels."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.postprocess.pixels import averaging, semantic


@pytest.mark.parametrize("size", [(3, 5), (300, 200)])
def test_means_are_exact(size):
    rng = np.random.default_rng(0)
    values = rng.random(size).astype(np.float32)
    slot = rng.integers(0, 3, size).astype(np.int32)
    area = np.bincount(slot.ravel(), minlength=4).astype(np.int32)
    means = averaging.average_by_slot(
        tf.constant(values), tf.constant(slot), tf.constant(area)
    )
    units = np.floor(values * 32768 + 0.5)
    for index in range(3):
        assert means[index].numpy() == pytest.approx(
            units[slot == index].mean() / 32768, rel=1e-6
        )
    assert means[3] == 0


def test_means_of_large_segments_do_not_drift():
    values = tf.fill([1500, 1400], 0.99)
    means = averaging.average_by_slot(
        values, tf.zeros([1500, 1400], tf.int32), tf.constant([1500 * 1400])
    )
    assert means[0].numpy() == pytest.approx(0.99, abs=2e-5)


def _average_slowly(probability_hwc, category, slot, num_slots):
    """Computes the definition, with pixels rounded to 1 / 32768."""
    means = np.zeros(num_slots)
    for index in range(num_slots):
        values = probability_hwc[slot == index][:, category[index]]
        if len(values):
            means[index] = np.mean(np.floor(values * 32768 + 0.5)) / 32768
    return means


@functools.cache
def _make_average(target, jit_compile):
    """Returns the function, which is traced once for each size of logits."""

    @tf.function(jit_compile=jit_compile, autograph=False)
    def average(logits, slot, category, area, valid_height):
        scores = semantic.Scores(logits)
        winner = semantic.compute_semantic_map(scores, target, valid_height)
        return averaging.average_class_probability(
            scores, winner, slot, category, area
        )

    return average


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("source", [(10, 16), (37, 150)])
def test_slots_of_any_class_get_its_mean_probability(
    jit_compile, share, source
):
    rng = np.random.default_rng(0)
    target = (37, 150)
    logits = tf.constant(rng.normal(0, 2, (*source, 5)), tf.float32)
    resized = tf.raw_ops.ResizeBilinear(
        images=logits[tf.newaxis], size=target, align_corners=True
    )
    probability = tf.nn.softmax(resized)[0].numpy()
    # Slots 0..4 have the winning class of most of their pixels, 5 and 6 have
    # another; the last is outside.
    slot = probability.argmax(-1)
    is_moved = rng.random(target) < share
    slot[is_moved] = rng.integers(0, 7, is_moved.sum())
    slot[35:] = 7
    category = np.array([0, 1, 2, 3, 4, 2, 0, 0], np.int32)
    area = np.bincount(slot.ravel(), minlength=8).astype(np.int32)
    actual = _make_average(target, jit_compile)(
        logits,
        tf.constant(slot, tf.int32),
        tf.constant(category),
        tf.constant(area),
        tf.constant(35),
    )
    expected = _average_slowly(probability, category, slot, 7)
    np.testing.assert_allclose(actual[:7], expected, atol=2e-5)


def test_sums_of_corrections_do_not_overflow():
    sums = averaging.UnitSums(tf.constant([5, 5]), tf.constant([1, 1]))
    for _ in range(3):
        sums = sums.add_units(tf.constant([2**31 - 1, -(2**31)]))
    means = sums.divide(tf.constant([1, 1]))
    expected = [5 + 3 * (2**31 - 1) / 32768, 5 - 3 * 2**31 / 32768]
    np.testing.assert_allclose(means, expected, rtol=1e-6)
