# SPDX-License-Identifier: Apache-2.0
import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model.layers import axial_attention
from deeplab2_like.model.layers.axial_attention import (
    AxialAttention,
    AxialAttention2D,
    compute_relative_positions,
)
from deeplab2_like.testing import harness


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(
            lambda: AxialAttention(16, 4, name="attention"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            lambda: AxialAttention2D(8, 2, name="attention"),
            marks=pytest.mark.slow,
        ),
        lambda: AxialAttention2D(
            16, strides=2, activation="none", name="attention"
        ),
    ],
)
def test_the_layers_pass_the_harness(make, tmp_path):
    harness.check_layer(make, tmp_path, shapes=((2, 7, 9, 6), (1, 8, 6, 6)))


def _randomize(layer, rng):
    for variable in layer.variables:
        if "variance" in variable.path or "gamma" in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        else:
            variable.assign(rng.normal(0.0, 0.5, variable.shape))


def _normalise(x, bn, index=None):
    """Batch norm in inference; `index` is a term of a stack."""
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    gamma, beta, mean, variance = (
        getattr(bn, name).numpy().astype(np.float64) for name in names
    )
    if index is not None:
        gamma, beta, mean, variance = (
            value[index] for value in (gamma, beta, mean, variance)
        )
    return (x - mean) / np.sqrt(variance + bn.epsilon) * gamma + beta


def _attend(x_lc, layer):
    """The twin: one line, position after position, head after head."""
    length, heads = len(x_lc), layer.num_heads
    keys = layer.filters // 2
    qkv = _normalise(x_lc @ layer.qkv_kernel.numpy(), layer.qkv_bn)
    query, key, value = np.split(qkv, [keys, 2 * keys], axis=1)
    query_rpe, key_rpe, value_rpe = (
        table.numpy()
        for table in (layer.query_rpe, layer.key_rpe, layer.value_rpe)
    )
    farthest = axial_attention.MAX_DISTANCE
    result = np.empty((length, layer.filters))
    for head in range(heads):
        k = slice(head * keys // heads, (head + 1) * keys // heads)
        v = slice(2 * k.start, 2 * k.stop)
        similarity = np.empty((length, length))
        retrieved = np.empty((length, v.stop - v.start))
        row = np.array(
            [
                [min(max(b - a, -farthest), farthest) for b in range(length)]
                for a in range(length)
            ]
        )
        row += farthest
        for a in range(length):
            for b in range(length):
                terms = (
                    query[a, k] @ key[b, k],
                    query[a, k] @ query_rpe[row[a, b]],
                    key[b, k] @ key_rpe[row[a, b]],
                )
                similarity[a, b] = sum(
                    _normalise(term, layer.similarity_bn, (i, 0, head, 0, 0))
                    for i, term in enumerate(terms)
                )
        weight = np.exp(similarity - similarity.max(axis=1, keepdims=True))
        weight /= weight.sum(axis=1, keepdims=True)
        for a in range(length):
            content = weight[a] @ value[:, v]
            position = weight[a] @ value_rpe[row[a]]
            retrieved[a] = sum(
                _normalise(term, layer.retrieved_bn, (i, 0, head, 0))
                for i, term in enumerate((content, position))
            )
        result[:, v] = retrieved
    return result


def _built(length, channels=6, filters=16, heads=2, seed=0):
    layer = AxialAttention(filters, heads, name="attention")
    layer.build((None, None, length, channels))
    _randomize(layer, np.random.default_rng(seed))
    return layer


def test_attention_equals_its_numpy_twin():
    x = np.random.default_rng(1).normal(size=(2, 3, 7, 6)).astype("float32")
    layer = _built(7)
    expected = np.array([[_attend(line, layer) for line in map_] for map_ in x])
    np.testing.assert_allclose(layer(x), expected, rtol=1e-3, atol=1e-4)


def test_a_line_longer_than_the_table_equals_the_twin(monkeypatch):
    monkeypatch.setattr(axial_attention, "MAX_DISTANCE", 2)
    x = np.random.default_rng(1).normal(size=(1, 1, 9, 6)).astype("float32")
    layer = _built(9)
    assert layer.query_rpe.shape[0] == 5
    expected = _attend(x[0, 0], layer)
    np.testing.assert_allclose(layer(x)[0, 0], expected, rtol=1e-3, atol=1e-4)


def test_positions_are_key_minus_query_and_clipped():
    position = compute_relative_positions(600).numpy()
    assert position.shape == (600, 600)
    assert position[0, 0] == position[599, 599] == 254
    assert position[3, 5] == 256
    assert position[5, 3] == 252
    assert position[0, 599] == position[0, 254] == 508
    assert position[599, 0] == position[254, 0] == 0


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_line_longer_than_the_table_runs_in_graphs(jit_compile):
    layer = AxialAttention2D(16, name="attention")
    layer.build((None, None, None, 4))
    run = tf.function(layer, jit_compile=jit_compile)
    x = tf.random.stateless_normal((1, 300, 2, 4), (0, 1))
    y = run(x)
    assert y.shape == (1, 300, 2, 16)
    assert np.all(np.isfinite(y))


def test_columns_are_attended_to_before_rows():
    layer = AxialAttention2D(16, 2, activation="none", name="attention")
    layer.build((None, None, None, 6))
    _randomize(layer, np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(1, 4, 5, 6)).astype("float32")
    columns = np.stack(
        [_attend(x[0, :, i], layer.height_axis) for i in range(5)], axis=1
    )
    rows = np.stack([_attend(row, layer.width_axis) for row in columns])
    np.testing.assert_allclose(layer(x)[0], rows, rtol=2e-3, atol=1e-3)


def test_a_stride_leaves_out_rows_then_columns():
    x = np.random.default_rng(1).normal(size=(1, 7, 6, 6)).astype("float32")
    whole = AxialAttention2D(16, 2, activation="none", name="attention")
    strided = AxialAttention2D(
        16, 2, strides=2, activation="none", name="attention"
    )
    for layer in (whole, strided):
        layer.build(x.shape)
        _randomize(layer, np.random.default_rng(0))
    np.testing.assert_allclose(
        strided(x), whole(x)[:, ::2, ::2], rtol=1e-4, atol=1e-5
    )


def test_the_tables_have_dense_gradients():
    layer = AxialAttention(16, 2, name="attention")
    layer.build((None, None, 5, 6))
    x = tf.random.stateless_normal((2, 3, 5, 6), (0, 1))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, training=True) ** 3)
    for variable, gradient in zip(
        layer.trainable_variables,
        tape.gradient(loss, [v.value for v in layer.trainable_variables]),
        strict=True,
    ):
        assert isinstance(gradient, tf.Tensor), variable.path
        assert np.all(np.isfinite(gradient))
        # What shifts all similarities of a head changes no weight.
        if not variable.path.endswith("similarity_bn/beta"):
            assert np.any(gradient != 0.0), variable.path


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_low_precision_is_finite_for_large_inputs(policy):
    layer = AxialAttention2D(64, name="attention", dtype=policy)
    x = 100.0 * tf.random.stateless_normal((2, 33, 17, 16), (0, 1))
    for training in (True, False):
        y = layer(x, training=training)
        assert y.dtype == policy.removeprefix("mixed_")
        assert np.all(np.isfinite(tf.cast(y, tf.float32)))
    assert all(v.dtype == "float32" for v in layer.trainable_variables)


def test_channels_that_heads_cannot_share_are_refused():
    with pytest.raises(ValueError, match="needs a multiple of 16"):
        AxialAttention(24)


def test_keras_counts_the_variables():
    layer = AxialAttention(32, 4, name="attention")
    layer.build((None, None, None, 10))
    tables = 509 * (4 + 4 + 8)
    norms = 4 * (64 + 3 * 4 + 2 * 32)
    assert layer.count_params() == 10 * 64 + tables + norms
    assert isinstance(layer, keras.layers.Layer)
