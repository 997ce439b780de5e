# SPDX-License-Identifier: Apache-2.0
"""Converted arrays compute what PyTorch's documentation says of the layers."""

import numpy as np
import pytest

from deeplab2_like.checkpoints.foreign import layouts
from deeplab2_like.checkpoints.foreign.layouts import LayerKind

# What a layer computes at one place, for channels c, outputs o, window h, w,
# by the layout of PyTorch and of Keras.
_FORMULAS = {
    LayerKind.CONVOLUTION: ((5, 4, 3, 2), "ochw,chw->o", "hwco,chw->o"),
    LayerKind.DEPTHWISE_CONVOLUTION: (
        (4, 1, 3, 2),
        "cohw,chw->c",
        "hwco,chw->c",
    ),
    LayerKind.TRANSPOSED_CONVOLUTION: (
        (4, 5, 3, 2),
        "cohw,c->hwo",
        "hwoc,c->hwo",
    ),
    LayerKind.LINEAR: ((5, 4), "oc,c->o", "co,c->o"),
}


@pytest.mark.parametrize("kind", _FORMULAS)
def test_a_converted_weight_computes_the_same(kind):
    shape, in_torch, in_keras = _FORMULAS[kind]
    rng = np.random.default_rng(1)
    weight = rng.normal(size=shape).astype(np.float32)
    is_window = "chw->" in in_torch
    inputs = rng.normal(size=(4, 3, 2) if is_window else (4,))
    name, kernel = layouts.to_tensorflow(kind, "weight", weight)
    assert name == "kernel"
    assert kernel.dtype == np.float32
    np.testing.assert_allclose(
        np.einsum(in_keras, kernel, inputs), np.einsum(in_torch, weight, inputs)
    )


def test_shapes_are_those_of_keras():
    shapes = {
        LayerKind.CONVOLUTION: ((64, 32, 3, 5), (3, 5, 32, 64)),
        LayerKind.DEPTHWISE_CONVOLUTION: ((64, 1, 3, 5), (3, 5, 64, 1)),
        LayerKind.TRANSPOSED_CONVOLUTION: ((64, 32, 3, 5), (3, 5, 32, 64)),
        LayerKind.LINEAR: ((64, 32), (32, 64)),
    }
    for kind, (before, after) in shapes.items():
        _, value = layouts.to_tensorflow(kind, "weight", np.zeros(before))
        assert value.shape == after, kind


def test_biases_keep_their_name_and_values():
    bias = np.arange(3.0)
    for kind in _FORMULAS:
        name, value = layouts.to_tensorflow(kind, "bias", bias)
        assert name == "bias"
        np.testing.assert_array_equal(value, bias)


def test_arrays_of_a_normalization_get_their_names():
    names = {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }
    for before, after in names.items():
        values = np.arange(4.0)
        name, value = layouts.to_tensorflow("normalization", before, values)
        assert name == after
        np.testing.assert_array_equal(value, values)


@pytest.mark.parametrize(
    ("kind", "name", "shape", "sentence"),
    [
        (
            "normalization",
            layouts.STEP_COUNTER,
            (),
            "has no array",
        ),
        ("linear", "running_mean", (3,), "A linear has no array"),
        ("linear", "weight", (3, 4, 1, 1), "has 2 dimensions, not the shape"),
        ("convolution", "weight", (3, 4), "has 4 dimensions"),
        ("convolution", "bias", (3, 1), "has 1 dimensions"),
        ("depthwise convolution", "weight", (8, 2, 3, 3), "other convolution"),
    ],
)
def test_an_array_that_the_layer_has_not_is_refused(
    kind, name, shape, sentence
):
    with pytest.raises(ValueError, match=sentence):
        layouts.to_tensorflow(LayerKind(kind), name, np.zeros(shape))
