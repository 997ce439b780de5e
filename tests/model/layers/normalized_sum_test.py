# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model.layers.normalized_sum import NormalizedSum

_SHAPE = (2, 3, 4, 5, 6)


def _terms(count, dtype="float32"):
    rng = np.random.default_rng(0)
    return [
        tf.cast(rng.normal(i, i + 1.0, _SHAPE), dtype) for i in range(count)
    ]


def _layer(count, keep_depth, **options):
    layer = NormalizedSum(count, keep_depth=keep_depth, name="sum", **options)
    layer.build(_SHAPE)
    return layer


def _axes(keep_depth):
    return (0, 1, 3) if keep_depth else (0, 1, 3, 4)


@pytest.mark.parametrize("keep_depth", [False, True])
def test_training_normalises_each_term_by_itself(keep_depth):
    layer = _layer(3, keep_depth, momentum=0.75)
    terms = [t.numpy() for t in _terms(3)]
    axes = _axes(keep_depth)
    expected = 0.0
    for term in terms:
        mean = term.mean(axes, keepdims=True)
        variance = term.var(axes, keepdims=True)
        expected += (term - mean) / np.sqrt(variance + layer.epsilon)
    y = layer(_terms(3), training=True)
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-4)
    means = np.stack([t.mean(axes, keepdims=True)[0] for t in terms])
    np.testing.assert_allclose(
        layer.moving_mean, 0.25 * means, rtol=1e-4, atol=1e-6
    )
    variances = np.stack([t.var(axes, keepdims=True)[0] for t in terms])
    np.testing.assert_allclose(
        layer.moving_variance, 0.75 + 0.25 * variances, rtol=1e-4
    )


@pytest.mark.parametrize(
    ("keep_depth", "shape"), [(False, (2, 1, 4, 1, 1)), (True, (2, 1, 4, 1, 6))]
)
def test_inference_uses_the_variables(keep_depth, shape):
    layer = _layer(2, keep_depth)
    rng = np.random.default_rng(1)
    values = {v.name: rng.uniform(0.5, 2.0, shape) for v in layer.variables}
    for variable in layer.variables:
        assert variable.shape == shape
        variable.assign(values[variable.name])
    expected = sum(
        (term.numpy() - values["moving_mean"][i])
        / np.sqrt(values["moving_variance"][i] + layer.epsilon)
        * values["gamma"][i]
        + values["beta"][i]
        for i, term in enumerate(_terms(2))
    )
    np.testing.assert_allclose(layer(_terms(2)), expected, rtol=1e-4, atol=1e-5)


def test_statistics_are_float32_for_terms_of_low_precision():
    layer = _layer(2, True)
    for dtype in ("bfloat16", "float16"):
        y = layer(_terms(2, dtype), training=True)
        assert y.dtype == tf.float32
    assert all(v.dtype == "float32" for v in layer.variables)


def test_a_frozen_layer_keeps_its_statistics():
    layer = _layer(2, True)
    layer.trainable = False
    layer(_terms(2), training=True)
    np.testing.assert_array_equal(layer.moving_mean, 0.0)


def test_the_config_survives_a_round_trip():
    layer = _layer(2, True, synchronized=True, momentum=0.5, epsilon=0.25)
    again = NormalizedSum.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_a_layer_can_be_frozen_from_the_start():
    frozen = _layer(2, True, trainable=False)
    frozen(_terms(2), training=True)
    np.testing.assert_array_equal(frozen.moving_mean, 0.0)
    assert not any(variable.trainable for variable in frozen.variables)
