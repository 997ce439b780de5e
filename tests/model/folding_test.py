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

_HEADS = """
decoder {
  feature_key: "res5" decoder_channels: 20 aspp_channels: 24
  atrous_rates: 1 atrous_rates: 2 atrous_rates: 3
}
panoptic_deeplab {
  low_level { feature_key: "res3" channels_project: 6 }
  low_level { feature_key: "res2" channels_project: 5 }
  instance {
    center_head { output_channels: 1 head_channels: 8 }
    regression_head { output_channels: 2 head_channels: 9 }
  }
  semantic_head { output_channels: 7 head_channels: 10 }
}
"""
_SMALL = 'name: "mobilenet_v3_small" use_squeeze_and_excite: true'
_BACKBONES = [
    _SMALL,
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


def _build(backbone, stride=16):
    options = model_pb2.ModelOptions()
    text = f"backbone {{ {backbone} output_stride: {stride} }}"
    text_format.Merge(text + _HEADS, options)
    return build.build_model(options, num_classes=7, train_crop_size=(65, 65))


def _make_trained(backbone, **kwargs):
    """Makes a model none of whose batch norms is the identity."""
    keras.utils.set_random_seed(1)
    model = _build(backbone, **kwargs)
    generator = np.random.default_rng(0)
    for variable in model.variables:
        name = variable.path.rpartition("/")[2]
        if name in ("gamma", "moving_variance"):
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
        elif name in ("beta", "moving_mean"):
            variable.assign(generator.normal(0, 0.3, variable.shape))
    return model


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


@pytest.mark.parametrize("backbone", _BACKBONES)
def test_outputs_are_the_same_up_to_rounding(backbone):
    model = _make_trained(backbone)
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


def test_the_model_itself_is_not_changed():
    model = _make_trained(_SMALL)
    before = [np.array(variable) for variable in model.variables]
    folding.fold_batch_norms(model)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert not any(
        layer.is_folded
        for layer in folding.iterate_layers(model)
        if isinstance(layer, BatchNorm)
    )


def test_the_copy_has_the_same_variables_and_may_be_folded_again():
    model = _make_trained(_SMALL)
    folded = folding.fold_batch_norms(model)
    paths = [variable.path for variable in model.variables]
    assert [variable.path for variable in folded.variables] == paths
    _assert_same(model, folding.fold_batch_norms(folded))


def test_folded_weights_are_right_without_the_flag_too():
    # As in a model of the same structure that loads them.
    model = _make_trained(_SMALL)
    folded = folding.fold_batch_norms(model)
    loaded = _build(_SMALL)
    for target, source in zip(loaded.variables, folded.variables, strict=True):
        target.assign(source)
    _assert_same(model, loaded)


def test_bfloat16_stays_bfloat16():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = _make_trained(_SMALL)
    finally:
        keras.config.set_dtype_policy("float32")
    folded = folding.fold_batch_norms(model)
    assert folded.compute_dtype == "bfloat16"
    assert folded.backbone.compute_dtype == "bfloat16"
    _assert_same(model, folded, tolerance=0.1)


def test_graph_and_xla_give_what_eager_gives():
    model = _make_trained(_SMALL)
    folded = folding.fold_batch_norms(model)
    images = _make_images()
    expected = folded(images, training=False)
    for jit_compile in (False, True):
        function = tf.function(
            lambda images: folded(images, training=False),
            jit_compile=jit_compile,
            autograph=False,
        )
        for name, value in function(images).items():
            np.testing.assert_allclose(
                value, expected[name], rtol=1e-3, atol=1e-6
            )
