# SPDX-License-Identifier: Apache-2.0
import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model.layers.batch_norm import BatchNorm
from deeplab2_like.model.layers.convolution import ConvBNAct
from deeplab2_like.testing import harness


def _images(shape=(2, 3, 4, 5), seed=0):
    rng = np.random.default_rng(seed)
    return (3.0 * rng.normal(size=shape) + 1.0).astype(np.float32)


@pytest.mark.parametrize("synchronized", [False, True])
def test_batch_norm_passes_the_harness(synchronized, tmp_path):
    harness.check_layer(
        lambda: BatchNorm(synchronized, momentum=0.9, name="bn"), tmp_path
    )


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(("synchronized", "ddof"), [(False, 1), (True, 0)])
def test_moving_variance_is_unbiased_only_without_synchronisation(
    synchronized, ddof, jit_compile
):
    x = _images()
    layer = BatchNorm(synchronized, momentum=0.75, name="bn")
    layer.build(x.shape)
    step = tf.function(
        lambda x: layer(x, training=True), jit_compile=jit_compile
    )
    y = step(x)
    flat = x.reshape(-1, 5)
    expected = 0.75 + 0.25 * flat.var(axis=0, ddof=ddof)
    np.testing.assert_allclose(layer.moving_variance, expected, rtol=1e-5)
    np.testing.assert_allclose(
        layer.moving_mean, 0.25 * flat.mean(axis=0), rtol=1e-5
    )
    normal = (x - flat.mean(axis=0)) / np.sqrt(flat.var(axis=0) + 1e-3)
    np.testing.assert_allclose(y, normal, atol=1e-5)


def test_one_value_a_channel_leaves_a_finite_variance():
    for synchronized in (False, True):
        layer = BatchNorm(synchronized, momentum=0.5, name="bn")
        layer(np.ones((1, 1, 1, 3), np.float32), training=True)
        np.testing.assert_allclose(layer.moving_variance, [0.5] * 3)


def test_synchronised_equals_keras_on_one_replica():
    x = _images((2, 5, 3, 4))
    ours = BatchNorm(True, momentum=0.9, name="bn")
    keras_layer = keras.layers.BatchNormalization(
        momentum=0.9, epsilon=1e-3, synchronized=True
    )
    for training in (True, False):
        actual = ours(x, training=training)
        expected = keras_layer(x, training=training)
        np.testing.assert_allclose(actual, expected, atol=1e-5)
    for a, b in zip(ours.variables, keras_layer.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_a_layer_that_is_not_trainable_keeps_its_statistics():
    layer = BatchNorm(name="bn")
    layer.trainable = False
    x = _images()
    y = layer(x, training=True)
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(5))
    np.testing.assert_allclose(y, x / np.sqrt(1.001), rtol=1e-5)


def test_a_layer_can_be_frozen_from_the_start():
    """Also for the layers around it, which list the variables of all."""
    options = {"batch_norm": {"trainable": False}, "activation": "none"}
    outer = ConvBNAct(5, name="outer", **options)
    x = _images()
    outer(x, training=True)
    assert [v.name for v in outer.trainable_variables] == ["kernel"]
    np.testing.assert_array_equal(outer.bn.moving_mean, np.zeros(5))
    again = ConvBNAct.from_config(outer.get_config())
    again.build(x.shape)
    assert [v.name for v in again.trainable_variables] == ["kernel"]
    bn = BatchNorm.from_config(outer.bn.get_config())
    assert not bn.trainable


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_statistics_are_float32_in_low_precision(policy, jit_compile):
    layer = BatchNorm(dtype=policy, momentum=0.0, name="bn")
    x = _images()
    layer.build(x.shape)
    step = tf.function(
        lambda x: layer(x, training=True), jit_compile=jit_compile
    )
    assert step(x).dtype == layer.compute_dtype
    assert layer.moving_mean.dtype == "float32"
    np.testing.assert_allclose(
        layer.moving_mean, x.reshape(-1, 5).mean(axis=0), atol=0.02
    )


def test_double_precision_is_refused():
    with pytest.raises(ValueError, match="float64 inputs"):
        BatchNorm(dtype="float64", name="bn")(np.ones((1, 2, 2, 3)))
