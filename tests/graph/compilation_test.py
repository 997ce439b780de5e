# SPDX-License-Identifier: Apache-2.0
"""Results that must not depend on the compiler."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.graph import compilation


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("flags", [[], [0], [1], [0, 1, 1, 0, 1]])
def test_true_values_are_listed_in_order(flags, jit_compile):
    list_true = tf.function(compilation.list_true, jit_compile=jit_compile)
    places, count = list_true(tf.constant(np.array(flags, bool)))
    expected = np.nonzero(flags)[0].tolist()
    assert int(count) == len(expected)
    missing = [len(flags)] * (len(flags) - len(expected))
    assert places.numpy().tolist() == expected + missing


@pytest.mark.parametrize("jit_compile", [False, True])
def test_what_is_not_wanted_is_zero(jit_compile):
    compute = tf.function(
        lambda number, x: compilation.compute_once(
            number, lambda: x + 1.0, [2], tf.float32
        ),
        jit_compile=jit_compile,
    )
    x = tf.constant([1.0, 2.0])
    np.testing.assert_array_equal(compute(tf.constant(1), x), [2, 3])
    np.testing.assert_array_equal(compute(tf.constant(0), x), [0, 0])


@pytest.mark.parametrize("value", [0.0, -1.0, np.inf, np.nan])
def test_hidden_numbers_are_what_they_were(value):
    assert compilation.hide(7, tf.constant([value, 1.0])) == 7
