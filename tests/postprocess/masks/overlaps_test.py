# SPDX-License-Identifier: Apache-2.0
"""Measures of masks, against products in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.postprocess.masks import overlaps

# More than one chunk, the last of which overlaps the one before it.
SIZE = (95, 100)
FILTERS = 5
# No logit is near it.
THRESHOLD = 0.5


def _make_inputs(rng, number, size=SIZE):
    """Makes whole numbers, whose products are exact."""
    kernels = rng.integers(-3, 4, (number, FILTERS)).astype(np.float32)
    features = rng.integers(-3, 4, (*size, FILTERS)).astype(np.float32)
    return kernels, features


def _measure_twin(kernels, features, valid_size):
    features = features[: valid_size[0], : valid_size[1]]
    logits = features.reshape(-1, FILTERS).astype(np.float64) @ kernels.T
    masks = logits > THRESHOLD
    soft = np.sum(masks / (1.0 + np.exp(-logits)), axis=0)
    flat = masks.astype(np.float64)
    return flat.sum(axis=0), soft, flat.T @ flat


def _measure(mode):
    def measure(kernels, features, valid_size, count):
        return overlaps.measure_masks(
            kernels, features, valid_size, THRESHOLD, count
        )

    if mode == "eager":
        return measure
    return tf.function(measure, jit_compile=mode == "xla", autograph=False)


def _assert_equal(found, expected, count=None):
    area, total, shared = (x.numpy() for x in found)
    np.testing.assert_array_equal(area[:count], expected[0][:count])
    np.testing.assert_allclose(total[:count], expected[1][:count], rtol=1e-5)
    np.testing.assert_array_equal(
        shared[:count, :count], expected[2][:count, :count]
    )


@pytest.mark.parametrize(
    ("block", "mode"),
    [
        (16, "eager"),
        (16, "xla"),
        (128, "graph"),
        pytest.param(16, "graph", marks=pytest.mark.slow),
        pytest.param(128, "eager", marks=pytest.mark.slow),
        pytest.param(128, "xla", marks=pytest.mark.slow),
    ],
)
def test_measures_equal_the_twin(mode, block, monkeypatch):
    monkeypatch.setattr(overlaps, "_BLOCK", block)
    monkeypatch.setattr(overlaps, "_CHUNK", 4096)
    rng = np.random.default_rng(0)
    measure = _measure(mode)
    for valid_size in (SIZE, (31, 77), (0, 5)):
        kernels, features = _make_inputs(rng, 37)
        found = measure(
            tf.constant(kernels),
            tf.constant(features),
            tf.constant(valid_size),
            tf.constant(37),
        )
        _assert_equal(found, _measure_twin(kernels, features, valid_size))


@pytest.mark.parametrize("mode", ["graph", "xla"])
def test_masks_that_are_not_there_change_nothing(mode, monkeypatch):
    monkeypatch.setattr(overlaps, "_BLOCK", 16)
    kernels, features = _make_inputs(np.random.default_rng(1), 37)
    expected = _measure_twin(kernels, features, SIZE)
    measure = _measure(mode)
    for count in (0, 1, 16, 17, 37):
        found = measure(
            tf.constant(kernels),
            tf.constant(features),
            tf.constant(SIZE),
            tf.constant(count),
        )
        _assert_equal(found, expected, count)


def test_features_of_any_size_and_of_unknown_size_work():
    rng = np.random.default_rng(2)
    signature = [
        tf.TensorSpec([3, FILTERS]),
        tf.TensorSpec([None, None, FILTERS]),
        tf.TensorSpec([2], tf.int32),
    ]
    unknown = tf.function(
        lambda *x: overlaps.measure_masks(*x, THRESHOLD),
        input_signature=signature,
        autograph=False,
    )
    for size in ((1, 1), (8, 9), (64, 128), (91, 91)):
        kernels, features = _make_inputs(rng, 3, size)
        inputs = [tf.constant(x) for x in (kernels, features, size)]
        expected = _measure_twin(kernels, features, size)
        _assert_equal(unknown(*inputs), expected)
        _assert_equal(overlaps.measure_masks(*inputs, THRESHOLD), expected)
