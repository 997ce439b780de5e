# SPDX-License-Identifier: Apache-2.0
"""Weights in 16 bits: what is stored, and what is computed."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.exports import half_weights


def _make_model(scale=1.0):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((6, 6, 3)),
            keras.layers.Conv2D(8, 3, use_bias=True, name="conv"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Conv2D(2, 1, name="last"),
        ]
    )
    chance = np.random.RandomState(0)
    for variable in model.variables:
        variable.assign(scale * (0.5 + chance.rand(*variable.shape)))
    return model


_IMAGES = np.random.RandomState(1).rand(2, 6, 6, 3).astype(np.float32)


def test_kernels_are_stored_in_16_bits_and_vectors_as_they_are():
    model = _make_model()
    stored = half_weights.StoredWeights(model, "bfloat16")
    for variable, raw in zip(model.variables, stored.variables, strict=True):
        is_kernel = len(variable.shape) > 1
        assert raw.dtype == (tf.bfloat16 if is_kernel else tf.float32)
        assert raw.shape == variable.shape
        if not is_kernel:
            assert raw is variable.value


def test_float32_stores_the_variables_of_the_model():
    model = _make_model()
    stored = half_weights.StoredWeights(model, "float32")
    for variable, raw in zip(model.variables, stored.variables, strict=True):
        assert raw is variable.value
    before = [np.array(variable) for variable in model.variables]
    half_weights.round_weights(model, "float32")
    half_weights.check(model, "float32")
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_graph_computes_with_the_rounded_weights(dtype):
    model, rounded = _make_model(), _make_model()
    half_weights.round_weights(rounded, dtype)
    stored = half_weights.StoredWeights(model, dtype)

    @tf.function
    def serve(images):
        with stored.restored():
            return model(images, training=False)

    found = serve(_IMAGES)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, rounded(_IMAGES), rtol=1e-6)
    assert not np.allclose(found, model(_IMAGES), rtol=1e-6)
    # Rounding is at most half of the last bit.
    digits = {"bfloat16": 8, "float16": 11}[dtype]
    kernel = model.get_layer("conv").kernel
    np.testing.assert_allclose(
        rounded.get_layer("conv").kernel, kernel, rtol=2.0**-digits
    )


def test_a_saved_module_holds_the_short_weights(tmp_path):
    model = _make_model()
    stored = half_weights.StoredWeights(model, "bfloat16")
    module = tf.Module()
    module.raw_variables = stored.variables

    @tf.function(input_signature=[tf.TensorSpec([None, 6, 6, 3])])
    def serve(images):
        with stored.restored():
            return {"y": model(images, training=False)}

    tf.saved_model.save(module, str(tmp_path), signatures={"s": serve})
    reader = tf.train.load_checkpoint(str(tmp_path / "variables/variables"))
    dtypes = list(reader.get_variable_to_dtype_map().values())
    assert dtypes.count(tf.bfloat16) == 2
    loaded = tf.saved_model.load(str(tmp_path)).signatures["s"]
    np.testing.assert_allclose(
        loaded(images=tf.constant(_IMAGES))["y"],
        serve(tf.constant(_IMAGES))["y"],
        rtol=1e-6,
    )


def test_weights_beyond_the_range_are_refused():
    model = _make_model(scale=1e5)
    half_weights.check(model, "bfloat16")
    with pytest.raises(
        errors.ExportError, match=r"conv/kernel have values.*--weights=bfloat16"
    ):
        half_weights.check(model, "float16")
