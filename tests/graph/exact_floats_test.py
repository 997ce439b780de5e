# SPDX-License-Identifier: Apache-2.0
"""Floats that do not depend on the mode, against NumPy's in float64."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.graph import exact_floats

MODES = ("eager", "graph", "xla")


@pytest.fixture
def numbers():
    rng = np.random.default_rng(0)
    return [rng.normal(size=10000).astype(np.float32) for _ in range(3)]


def _run_in_all(function, *values):
    """Runs in every mode; the results must be the same, bit for bit."""
    results = []
    for mode in MODES:
        compute = function
        if mode != "eager":
            compute = tf.function(
                function, jit_compile=mode == "xla", autograph=False
            )
        results.append(compute(*map(tf.constant, values)).numpy())
    for result in results[1:]:
        np.testing.assert_array_equal(
            result.view(np.int32), results[0].view(np.int32)
        )
    return results[0]


def test_products_are_rounded(numbers):
    a, b, c = numbers
    result = _run_in_all(
        lambda a, b, c: c + exact_floats.rounded(a * b), a, b, c
    )
    np.testing.assert_array_equal(result, c + a * b)


def test_squares_are_rounded(numbers):
    a, b, _ = numbers
    result = _run_in_all(
        lambda a, b: (
            exact_floats.rounded_square(a) + exact_floats.rounded_square(b)
        ),
        a,
        b,
    )
    np.testing.assert_array_equal(result, a * a + b * b)


def test_exponentials_are_right_to_the_last_bit():
    values = np.linspace(-87, 88, 200_000).astype(np.float32)
    result = _run_in_all(exact_floats.exp, values)
    expected = np.exp(values.astype(np.float64))
    unit = np.spacing(expected.astype(np.float32)).astype(np.float64)
    assert np.max(np.abs(result - expected) / unit) < 1.25


def test_exponentials_stay_finite():
    values = np.array([np.nan, -np.inf, np.inf, -1e9, 1e9, 0.0], np.float32)
    result = _run_in_all(exact_floats.exp, values)
    assert np.isfinite(result).all()
    assert result[0] == result[5] == 1.0
    assert 0.0 < result[1] == result[3] < 1e-37
    assert result[2] == result[4] > 1e38


def test_sigmoids_equal_those_of_numpy(numbers):
    values = np.concatenate([20 * numbers[0], [-np.inf, np.inf]])
    values = values.astype(np.float32)
    result = _run_in_all(exact_floats.sigmoid, values)
    expected = 1.0 / (1.0 + np.exp(-values.astype(np.float64)))
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-37)
    assert exact_floats.sigmoid(tf.constant(np.nan)) == 0.0
    assert exact_floats.sigmoid(tf.constant(0.0)) == 0.5


@pytest.mark.parametrize("number", [1, 2, 3, 7, 81, 134])
def test_softmaxes_equal_those_of_numpy(number):
    logits = np.random.default_rng(number).normal(0, 5, (500, number))
    logits = logits.astype(np.float32)
    logits[0, 0] = -np.inf if number > 1 else 3.0
    result = _run_in_all(exact_floats.softmax, logits)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True).astype("f8"))
    expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(result, expected, rtol=5e-6, atol=1e-37)


def test_logits_that_are_not_finite_give_probabilities():
    logits = np.array(
        [[np.nan, 1, 2], [np.nan] * 3, [np.inf, 1, np.inf], [-np.inf] * 3],
        np.float32,
    )
    result = _run_in_all(exact_floats.softmax, logits)
    assert np.isfinite(result).all()
    np.testing.assert_allclose(result.sum(axis=1), 1, rtol=1e-6)
