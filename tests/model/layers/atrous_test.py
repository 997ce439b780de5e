# SPDX-License-Identifier: Apache-2.0
"""Atrous convolutions: the same numbers as by way of many small maps."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model.layers import atrous


def _make(size=(9, 13)):
    x = tf.random.stateless_normal([2, *size, 4], [0, 1])
    return x, tf.random.stateless_normal([3, 3, 4, 5], [0, 2])


def _gradients(x, kernel, rate):
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        y = atrous.convolve(x, kernel, rate, True)
        loss = tf.reduce_sum(y * tf.cos(tf.range(5.0)))
    return tape.gradient(loss, [x, kernel])


@pytest.mark.parametrize("rate", [1, 2, 6, 20])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_outputs_equal_those_of_tensorflow(rate, jit_compile):
    x, kernel = _make()
    expected = tf.nn.convolution(x, kernel, 1, "SAME", dilations=rate)
    convolve = tf.function(
        lambda x, kernel: atrous.convolve(x, kernel, rate, False),
        jit_compile=jit_compile,
        autograph=False,
    )
    np.testing.assert_allclose(convolve(x, kernel), expected, atol=1e-5)


@pytest.mark.parametrize("in_graph", [False, True])
def test_gradients_do_not_depend_on_the_way(in_graph, monkeypatch):
    x, kernel = _make()
    actual, expected = [], []
    for way, result in ((True, actual), (False, expected)):
        if not way:
            monkeypatch.setattr(atrous, "_has_gradients", lambda: False)
        gradients = _gradients
        if in_graph:
            gradients = tf.function(_gradients, autograph=False)
        result += gradients(x, kernel, 3)
    for some, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(some, other, rtol=1e-4, atol=1e-4)


def test_where_there_are_no_gradients_is_found_out(monkeypatch):
    def refuse(**_):
        raise tf.errors.InvalidArgumentError(None, None, "not supported")

    monkeypatch.setattr(tf.raw_ops, "Conv2DBackpropFilter", refuse)
    atrous._has_gradients.cache_clear()
    try:
        assert not atrous._has_gradients()
    finally:
        atrous._has_gradients.cache_clear()
