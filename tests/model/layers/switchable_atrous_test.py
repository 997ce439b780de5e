# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model.layers.convolution import ConvBNAct
from deeplab2_like.model.layers.switchable_atrous import (
    GlobalContext,
    SwitchableConv2D,
    SwitchableConvBNAct,
)
from deeplab2_like.testing import harness


@pytest.mark.parametrize(
    "make",
    [
        lambda: GlobalContext(name="context"),
        lambda: SwitchableConv2D(6, name="conv"),
        lambda: SwitchableConv2D(5, dilation_rate=2, name="conv"),
        lambda: SwitchableConvBNAct(6, dilation_rate=2, name="conv"),
        lambda: SwitchableConvBNAct(6, strides=2, name="conv"),
    ],
)
def test_the_layers_pass_the_harness(make, tmp_path):
    harness.check_layer(make, tmp_path)


def _convolve(x, kernel, rate):
    """A dilated 3x3 convolution with zeros around, tap by tap."""
    height, width = x.shape[1:3]
    padded = np.pad(x, ((0, 0), (rate, rate), (rate, rate), (0, 0)))
    y = 0.0
    for row in range(3):
        for column in range(3):
            top, left = row * rate, column * rate
            window = padded[:, top : top + height, left : left + width]
            y = y + window @ kernel[row, column]
    return y


def _mean_5x5(x):
    """Means over the pixels of a 5x5 window that exist."""
    means = np.empty_like(x)
    for row in range(x.shape[1]):
        for column in range(x.shape[2]):
            window = x[
                :,
                max(row - 2, 0) : row + 3,
                max(column - 2, 0) : column + 3,
            ]
            means[:, row, column] = window.mean(axis=(1, 2))
    return means


def _randomize(layer, rng):
    for variable in layer.trainable_variables:
        variable.assign(rng.normal(0.0, 0.5, variable.shape))


@pytest.mark.parametrize("rate", [1, 2])
def test_the_convolution_equals_its_numpy_twin(rate):
    rng = np.random.default_rng(rate)
    x = rng.normal(size=(2, 9, 14, 3)).astype("float32")
    layer = SwitchableConv2D(4, dilation_rate=rate, name="conv")
    layer.build(x.shape)
    _randomize(layer, rng)
    layer.switch.bias.assign([-0.5])
    kernel = layer.kernel.numpy()
    switch = (
        _mean_5x5(x) @ layer.switch.kernel.numpy()[0, 0]
        + layer.switch.bias.numpy()
    )
    assert switch.min() < 0.0  # not squashed
    expected = switch * _convolve(x, kernel, 3 * rate)
    expected += (1.0 - switch) * _convolve(x, kernel, rate)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-4)


def test_the_whole_equals_its_numpy_twin():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 7, 8, 3)).astype("float32")
    layer = SwitchableConvBNAct(4, dilation_rate=2, name="conv")
    layer.build(x.shape)
    _randomize(layer, rng)
    twin = x
    for context in (layer.pre_context, layer.post_context):
        kernel = context.convolution.kernel.numpy()[0, 0]
        bias = context.convolution.bias.numpy()
        twin = twin + (twin.mean(axis=(1, 2), keepdims=True) @ kernel + bias)
        if context is layer.pre_context:
            twin = layer.conv(twin.astype("float32")).numpy()
    bn = layer.bn
    twin = twin / np.sqrt(1.0 + bn.epsilon) * bn.gamma.numpy()
    twin = np.maximum(twin + bn.beta.numpy(), 0.0)
    np.testing.assert_allclose(layer(x), twin, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"strides": 2}, {"dilation_rate": 3}])
def test_it_starts_as_a_plain_convolution(options):
    x = np.random.default_rng(0).normal(size=(1, 11, 12, 3)).astype("float32")
    plain = ConvBNAct(5, 3, name="conv", **options)
    layer = SwitchableConvBNAct(5, 3, name="conv", **options)
    plain.build(x.shape)
    layer.build(x.shape)
    plain.conv.kernel.assign(layer.conv.kernel)
    np.testing.assert_allclose(layer(x), plain(x), atol=1e-5)


def test_a_stride_leaves_no_switch():
    layer = SwitchableConvBNAct(4, strides=2, name="conv")
    layer.build((None, None, None, 3))
    assert not any("switch" in v.path for v in layer.variables)
    assert any("pre_global_context" in v.path for v in layer.variables)


def test_gradients_reach_every_weight():
    x = tf.random.stateless_normal((2, 9, 9, 3), (0, 1))
    layer = SwitchableConvBNAct(4, name="conv")
    layer.build(x.shape)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, training=True) ** 3)
    for gradient in tape.gradient(
        loss, [v.value for v in layer.trainable_variables]
    ):
        assert np.all(np.isfinite(gradient))


def test_wrong_values_are_refused():
    with pytest.raises(ValueError, match="it must be odd"):
        SwitchableConvBNAct(4, 2)
    with pytest.raises(ValueError, match="one of them must be 1"):
        SwitchableConvBNAct(4, strides=2, dilation_rate=2)
