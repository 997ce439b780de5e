# SPDX-License-Identifier: Apache-2.0
import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model.layers import convolution
from deeplab2_like.model.layers.convolution import (
    ConvBNAct,
    DepthwiseConvBNAct,
    SeparableConvBNAct,
)
from deeplab2_like.testing import harness


@pytest.mark.parametrize(
    "make",
    [
        lambda: ConvBNAct(4, 3, name="layer"),
        lambda: ConvBNAct(4, 7, strides=2, activation="none", name="layer"),
        lambda: ConvBNAct(4, 3, dilation_rate=3, name="layer"),
        lambda: DepthwiseConvBNAct(
            5, strides=2, activation="hard_swish", name="layer"
        ),
        lambda: DepthwiseConvBNAct(3, dilation_rate=2, name="layer"),
        lambda: DepthwiseConvBNAct(3, dilation_rate=(1, 6), name="layer"),
        lambda: SeparableConvBNAct(
            6, dilation_rate=(3, 2), activation="leaky_relu", name="layer"
        ),
        lambda: SeparableConvBNAct(6, 5, name="layer"),
        lambda: DepthwiseConvBNAct(5, strides=2, padding="same", name="layer"),
    ],
)
def test_convolutions_pass_the_harness(make, tmp_path):
    harness.check_layer(make, tmp_path)


def _numpy_convolution(x, kernel, stride, dilation):
    """Correlation whose output [0, 0] is centred on pixel [0, 0]."""
    batch, height, width, _ = x.shape
    side = kernel.shape[0]
    pad = dilation * (side - 1) // 2
    padded = np.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    out = np.zeros(
        (
            batch,
            (height - 1) // stride + 1,
            (width - 1) // stride + 1,
            kernel.shape[3],
        )
    )
    for y in range(out.shape[1]):
        for x0 in range(out.shape[2]):
            patch = padded[
                :,
                y * stride : y * stride + dilation * (side - 1) + 1 : dilation,
                x0 * stride : x0 * stride
                + dilation * (side - 1)
                + 1 : dilation,
            ]
            out[:, y, x0] = np.tensordot(patch, kernel, 3)
    return out


@pytest.mark.parametrize("size", [(9, 13), (8, 12), (1, 2)])
@pytest.mark.parametrize(
    ("kernel_size", "stride", "dilation"),
    [(3, 1, 1), (3, 2, 1), (7, 2, 1), (1, 2, 1), (3, 1, 4), (5, 4, 1)],
)
def test_outputs_are_centred_on_input_pixels(
    size, kernel_size, stride, dilation
):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *size, 3)).astype(np.float32)
    layer = ConvBNAct(
        2,
        kernel_size,
        strides=stride,
        dilation_rate=dilation,
        activation="none",
        batch_norm={"epsilon": 1e-3},
        name="layer",
    )
    actual = layer(x).numpy() * np.sqrt(1.001)
    kernel = layer.conv.kernel.numpy()
    expected = _numpy_convolution(x, kernel, stride, dilation)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("size", [(9, 13), (8, 13), (8, 12)])
@pytest.mark.parametrize("kernel_size", [3, 5, 7])
def test_same_padding_moves_the_outputs_of_even_sizes_by_a_pixel(
    size, kernel_size
):
    """Sizes that are odd are padded alike; output sizes are always equal."""
    options = {"strides": 2, "activation": "none", "name": "layer"}
    ours = ConvBNAct(2, kernel_size, **options)
    same = ConvBNAct(2, kernel_size, padding="same", **options)
    x = np.random.default_rng(0).normal(size=(1, *size, 3)).astype("f4")
    expected = ours(x)
    same.build(x.shape)
    same.set_weights(ours.get_weights())
    moved = same(np.roll(x, [1 - side % 2 for side in size], axis=(1, 2)))
    assert same(x).shape == expected.shape
    # Without the borders, which the roll filled from the other side.
    inner = np.s_[:, 2:-2, 2:-2]
    np.testing.assert_allclose(moved[inner], expected[inner], atol=1e-5)


def test_an_unknown_padding_is_refused():
    with pytest.raises(ValueError, match="'valid' - known are symmetric, same"):
        ConvBNAct(4, 3, padding="valid")


def test_a_branch_that_starts_at_zero_gives_zero():
    layer = ConvBNAct(4, 3, gamma_initializer="zeros", activation="none")
    assert np.all(layer(np.ones((1, 5, 5, 2), np.float32)) == 0.0)


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="kernel_size is 4"):
        ConvBNAct(4, 4)


@pytest.mark.parametrize("size", [(9, 40), (3, 2)])
def test_a_pair_of_rates_dilates_each_axis_by_its_own(size):
    layer = DepthwiseConvBNAct(3, dilation_rate=(6, 21), activation="none")
    layer.build((None, None, None, 2))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *size, 2)).astype(np.float32)
    kernel = layer.depthwise_conv.kernel.numpy()
    # The same kernel with zeros between its values, at rate 1.
    wide = np.zeros((13, 43, 2, 1), np.float32)
    wide[::6, ::21] = kernel
    plain = tf.nn.depthwise_conv2d(x, wide, [1, 1, 1, 1], "SAME")
    expected = layer.bn(plain, training=False)
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_stride_and_dilation_together_are_refused():
    with pytest.raises(ValueError, match="one of them must be 1"):
        ConvBNAct(4, 3, strides=2, dilation_rate=2)


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="'gelu' - known are none, relu"):
        ConvBNAct(4, activation="gelu")


def test_an_unknown_convolution_type_is_refused():
    with pytest.raises(ValueError, match="known are depthwise_separable_conv"):
        convolution.conv_class("conv")


def test_initial_kernels_have_the_variance_of_he():
    keras.utils.set_random_seed(0)
    layer = ConvBNAct(256, 3)
    layer.build((None, None, None, 64))
    expected = np.sqrt(2.0 / (9 * 64))
    assert layer.conv.kernel.numpy().std() == pytest.approx(expected, rel=0.02)
