# SPDX-License-Identifier: Apache-2.0
"""Folded batch norms: the same outputs, from a copy, on every backbone."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from deeplab2_like.model import build, folding
from deeplab2_like.model.layers.batch_norm import BatchNorm
from deeplab2_like.protos import model_pb2

_SMALL = 'name: "mobilenet_v3_small" use_squeeze_and_excite: true'
_BACKBONES = [
    _SMALL,
    'name: "resnet50_beta" backbone_width_multiplier: 0.25',
]
_MORE_BACKBONES = [
    'name: "axial_swidernet" backbone_width_multiplier: 0.25',
    'name: "mobilenet_v3_large" use_squeeze_and_excite: true',
    'name: "resnet50"',
    'name: "resnet50_beta"',
    'name: "wide_resnet41" backbone_width_multiplier: 0.125',
    'name: "swidernet" backbone_width_multiplier: 0.25'
    " use_sac_beyond_stride: 16",
    'name: "axial_swidernet" backbone_width_multiplier: 0.5',
]
# Where some batch norms follow something else than a convolution.
_PARTLY = ("swidernet", "axial_swidernet")


@pytest.fixture(scope="module")
def build_model(panoptic_text):
    """Returns a function that builds a model on a backbone."""

    def build_on(backbone):
        options = model_pb2.ModelOptions()
        text = f"backbone {{ {backbone} output_stride: 16 }}"
        text_format.Merge(text + panoptic_text, options)
        return build.build_model(
            options, num_classes=7, train_crop_size=(65, 65)
        )

    return build_on


@pytest.fixture(scope="module")
def make_trained(build_model):
    """Returns a function that makes models without an identical batch norm."""

    def make(backbone):
        keras.utils.set_random_seed(1)
        model = build_model(backbone)
        generator = np.random.default_rng(0)
        for variable in model.variables:
            name = variable.path.rpartition("/")[2]
            if name in ("gamma", "moving_variance"):
                variable.assign(generator.uniform(0.5, 1.5, variable.shape))
            elif name in ("beta", "moving_mean"):
                variable.assign(generator.normal(0, 0.3, variable.shape))
        return model

    return make


@pytest.fixture(scope="module")
def small(make_trained):
    """Returns a model that no test may change."""
    return make_trained(_SMALL)


@pytest.fixture(scope="module")
def folded_small(small):
    return folding.fold_batch_norms(small)


def _make_images(size=(65, 97)):
    generator = np.random.default_rng(2)
    return tf.constant(generator.integers(0, 256, (2, *size, 3)), tf.float32)


def _assert_same(model, folded, tolerance=1e-4):
    images = _make_images()
    expected = model(images, training=False)
    actual = folded(images, training=False)
    assert expected.keys() == actual.keys()
    for name, value in expected.items():
        scale = float(tf.reduce_max(tf.abs(value)))
        assert scale > 0
        np.testing.assert_allclose(
            actual[name] / scale, value / scale, atol=tolerance
        )


@pytest.mark.parametrize(
    "backbone",
    [
        *_BACKBONES,
        *(pytest.param(x, marks=pytest.mark.slow) for x in _MORE_BACKBONES),
    ],
)
def test_outputs_are_the_same_up_to_rounding(make_trained, backbone):
    model = make_trained(backbone)
    folded = folding.fold_batch_norms(model)
    _assert_same(model, folded)
    norms = [
        layer
        for layer in folding.iterate_layers(folded)
        if isinstance(layer, BatchNorm)
    ]
    is_folded = [norm.is_folded for norm in norms]
    assert any(is_folded)
    if not any(f'"{name}"' in backbone for name in _PARTLY):
        assert all(is_folded)


def test_the_model_itself_is_not_changed(small):
    before = [np.array(variable) for variable in small.variables]
    folding.fold_batch_norms(small)
    for variable, value in zip(small.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert not any(
        layer.is_folded
        for layer in folding.iterate_layers(small)
        if isinstance(layer, BatchNorm)
    )


def test_the_copy_has_the_same_variables_and_may_be_folded_again(
    small, folded_small
):
    paths = [variable.path for variable in small.variables]
    assert [variable.path for variable in folded_small.variables] == paths
    _assert_same(small, folding.fold_batch_norms(folded_small))


def test_folded_weights_are_right_without_the_flag_too(
    small, folded_small, build_model
):
    # As in a model of the same structure that loads them.
    loaded = build_model(_SMALL)
    for target, source in zip(
        loaded.variables, folded_small.variables, strict=True
    ):
        target.assign(source)
    _assert_same(small, loaded)


def test_bfloat16_stays_bfloat16(make_trained):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = make_trained(_SMALL)
    finally:
        keras.config.set_dtype_policy("float32")
    folded = folding.fold_batch_norms(model)
    assert folded.compute_dtype == "bfloat16"
    assert folded.backbone.compute_dtype == "bfloat16"
    _assert_same(model, folded, tolerance=0.1)


@pytest.mark.parametrize(
    "jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_graph_and_xla_give_what_eager_gives(folded_small, jit_compile):
    images = _make_images()
    expected = folded_small(images, training=False)
    function = tf.function(
        lambda images: folded_small(images, training=False),
        jit_compile=jit_compile,
        autograph=False,
    )
    for name, value in function(images).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-3, atol=1e-6)
