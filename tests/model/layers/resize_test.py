# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model.layers.resize import (
    resize_align_corners,
    spatial_size,
)

_CASES = [
    ((5, 9), (17, 33)),  # integer factors
    ((5, 9), (18, 31)),
    ((7, 9), (3, 4)),  # smaller
    ((1, 1), (4, 5)),
    ((3, 1), (1, 5)),
    ((4, 4), (4, 4)),
    ((24, 32), (96, 128)),
]


def _numpy_resize(x, size):
    """Interpolates by a matrix for each axis, in float64."""
    for axis, after in zip((1, 2), size, strict=True):
        before = x.shape[axis]
        positions = np.arange(after) * (before - 1) / max(after - 1, 1)
        weights = np.maximum(
            0.0, 1.0 - np.abs(positions[:, None] - np.arange(before))
        )
        x = np.moveaxis(np.tensordot(weights, x, (1, axis)), 0, axis)
    return x


def _map(size, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(2, *size, 3)).astype(np.float32)


@pytest.mark.parametrize(("before", "after"), _CASES)
@pytest.mark.parametrize("jit_compile", [None, False, True])
def test_maps_equal_interpolation_by_matrices(before, after, jit_compile):
    function = resize_align_corners
    if jit_compile is not None:
        function = tf.function(function, jit_compile=jit_compile)
    x = _map(before)
    np.testing.assert_allclose(
        function(tf.constant(x), after), _numpy_resize(x, after), atol=1e-5
    )


@pytest.mark.parametrize(("before", "after"), _CASES)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_gradient_is_the_transposed_map(before, after, jit_compile):
    x, g = _map(before), _map(after, seed=1)

    @tf.function(jit_compile=jit_compile)
    def compute_gradient(x, g):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = resize_align_corners(x, after)
        return tape.gradient(y, x, g)

    # <g, R x> = <R^T g, x> for every x
    gradient = compute_gradient(tf.constant(x), tf.constant(g))
    other = _map(before, seed=2)
    np.testing.assert_allclose(
        np.sum(gradient * other),
        np.sum(g * _numpy_resize(other, after)),
        rtol=1e-3,
        atol=1e-3,
    )


@pytest.mark.parametrize("jit_compile", [False, True])
def test_sizes_may_be_unknown_while_tracing(jit_compile):
    @tf.function(
        jit_compile=jit_compile,
        input_signature=[tf.TensorSpec((None, None, None, None))] * 2,
    )
    def resize_to(x, like):
        return resize_align_corners(x, spatial_size(like))

    for before, after in _CASES:
        x = _map(before)
        np.testing.assert_allclose(
            resize_to(x, _map(after)), _numpy_resize(x, after), atol=1e-5
        )


def test_xla_gets_no_resize_operation():
    @tf.function(jit_compile=True)
    def resize(x):
        return resize_align_corners(x, (17, 33))

    graph = resize.get_concrete_function(tf.TensorSpec((2, 5, 9, 3))).graph
    assert "ResizeBilinear" not in str(graph.as_graph_def())


def test_the_dtype_stays():
    x = tf.cast(_map((3, 3)), tf.bfloat16)
    assert resize_align_corners(x, (5, 5)).dtype == tf.bfloat16


def test_corners_stay_where_they_are():
    x = _map((4, 6))
    y = resize_align_corners(tf.constant(x), (11, 9)).numpy()
    np.testing.assert_allclose(
        y[:, [0, 0, -1, -1], [0, -1, 0, -1]],
        x[:, [0, 0, -1, -1], [0, -1, 0, -1]],
        atol=1e-6,
    )
