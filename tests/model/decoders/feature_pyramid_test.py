# SPDX-License-Identifier: Apache-2.0
"""The feature pyramid, the semantic branch and the heads of Mask R-CNN."""

import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model.backbones import mobilenet_v3, resnet
from deeplab2_like.model.decoders import feature_pyramid
from deeplab2_like.model.heads import roi_heads
from deeplab2_like.model.layers import group_norm, upsample
from deeplab2_like.testing import harness, reference

ENDPOINTS = {"res2": 8, "res3": 12, "res4": 16, "res5": 20}
SEPARABLE = {"separable": True, "batch_norm": {"momentum": 0.9}}


def _shapes(batch, height, width, channels):
    """Shapes of levels of strides 4, 8, ... as the backbones give them."""
    return {
        name: (batch, (height - 1) // s + 1, (width - 1) // s + 1, number)
        for s, (name, number) in zip(
            (4, 8, 16, 32), channels.items(), strict=True
        )
    }


def _level_shapes(batch, height, width, channels=8):
    levels = dict.fromkeys(feature_pyramid.LEVELS, channels)
    return _shapes(batch, height, width, levels)


def test_the_pyramid_passes_the_harness(tmp_path):
    harness.check_layer(
        lambda: feature_pyramid.FeaturePyramid(6, name="pyramid"),
        tmp_path,
        shapes=[
            _shapes(2, 65, 97, ENDPOINTS),
            _shapes(1, 64, 50, ENDPOINTS),
        ],
    )


@pytest.mark.slow
def test_the_semantic_branch_passes_the_harness(tmp_path):
    harness.check_layer(
        lambda: feature_pyramid.SemanticBranch(3, 8, groups=4, name="semantic"),
        tmp_path,
        shapes=[_level_shapes(2, 65, 97), _level_shapes(1, 64, 50)],
    )


def test_group_norm_passes_the_harness(tmp_path):
    harness.check_layer(lambda: group_norm.GroupNorm(4, name="norm"), tmp_path)


@pytest.mark.parametrize("options", [{}, SEPARABLE])
def test_the_proposal_head_passes_the_harness(options, tmp_path):
    harness.check_layer(
        lambda: roi_heads.ProposalHead(3, 8, name="proposals", **options),
        tmp_path,
        shapes=(
            {"p2": (2, 17, 25, 8), "p3": (2, 9, 13, 8)},
            {"p2": (1, 16, 22, 8), "p3": (1, 8, 11, 8)},
        ),
    )


def test_levels_share_the_batch_statistics_of_a_separable_head():
    """As the moving statistics do: else inference sees other values."""
    keras.utils.set_random_seed(0)
    head = roi_heads.ProposalHead(
        3, 8, separable=True, batch_norm={"momentum": 0.0}
    )
    rng = np.random.default_rng(0)
    levels = {
        name: tf.constant(
            rng.normal(mean, 1.0, (4, side, side, 8)).astype(np.float32)
        )
        for name, side, mean in (("p2", 16, 0.0), ("p3", 8, 3.0))
    }
    trained = head(levels, training=True)
    again = head(levels, training=False)
    for level in levels:
        for one, other in zip(trained[level], again[level], strict=True):
            np.testing.assert_allclose(one, other, rtol=0.05, atol=1e-3)
    assert not np.allclose(
        tf.reduce_mean(trained["p2"][0]),
        tf.reduce_mean(trained["p3"][0]),
        atol=1e-3,
    )


@pytest.mark.parametrize("options", [{}, SEPARABLE])
def test_the_mask_head_passes_the_harness(options, tmp_path):
    harness.check_layer(
        lambda: roi_heads.MaskHead(3, 8, num_convs=2, name="masks", **options),
        tmp_path,
        shapes=((2, 6, 6, 8), (1, 4, 4, 8)),
    )


def test_the_box_head_gives_numbers_of_each_region():
    head = roi_heads.BoxHead(3, 16, name="boxes")
    head.build((None, 7, 7, 8))
    x = tf.constant(np.random.default_rng(0).normal(size=(5, 7, 7, 8)))
    classes, codes = head(tf.cast(x, tf.float32))
    assert classes.shape == (5, 4)
    assert codes.shape == (5, 3, 4)
    again = roi_heads.BoxHead.from_config(head.get_config())
    assert again.get_config() == head.get_config()
    compiled = tf.function(head, jit_compile=True)(tf.cast(x, tf.float32))
    np.testing.assert_allclose(compiled[0], classes, atol=1e-6)


def test_levels_have_the_strides_4_to_64():
    pyramid = feature_pyramid.FeaturePyramid(6)
    shapes = _shapes(1, 129, 257, ENDPOINTS)
    pyramid.build(shapes)
    levels = pyramid({key: tf.ones(shape) for key, shape in shapes.items()})
    for level, stride in feature_pyramid.STRIDES.items():
        expected = (1, 128 // stride + 1, 256 // stride + 1, 6)
        assert levels[level].shape == expected


@pytest.mark.parametrize(
    "make", [resnet.resnet50, mobilenet_v3.mobilenet_v3_small]
)
def test_backbones_have_the_endpoints_of_the_pyramid(make):
    backbone = make(32)
    assert set(feature_pyramid.ENDPOINTS) <= set(backbone.output_channels)


@pytest.mark.parametrize("number", [1, 2, 3, 8])
def test_upsampling_by_two_is_that_of_tensorflow(number):
    rng = np.random.default_rng(number)
    x = tf.constant(rng.normal(size=(2, number, 5, 3)), tf.float32)
    size = (2 * number, 10)
    expected = tf.raw_ops.ResizeBilinear(
        images=x, size=size, half_pixel_centers=True
    )
    actual = upsample.upsample_bilinear(x, size)
    np.testing.assert_allclose(actual, expected, atol=1e-6)
    size = (2 * number - 1, 9)
    expected = tf.raw_ops.ResizeBilinear(
        images=x, size=size, align_corners=True
    )
    actual = upsample.upsample_bilinear(x, size)
    np.testing.assert_allclose(actual, expected, atol=1e-6)


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("number", [1, 3])
def test_upsampling_by_more_is_that_of_tensorflow(number, factor):
    rng = np.random.default_rng(number)
    x = tf.constant(rng.normal(size=(2, number, 5, 3)), tf.float32)
    for missing, options in (
        (0, {"half_pixel_centers": True}),
        (factor - 1, {"align_corners": True}),
    ):
        size = (factor * number - missing, factor * 5 - missing)
        expected = tf.raw_ops.ResizeBilinear(images=x, size=size, **options)
        actual = upsample.upsample_bilinear(x, size, factor)
        np.testing.assert_allclose(actual, expected, atol=1e-6)
        unknown = tf.function(
            lambda x, h, w: upsample.upsample_bilinear(x, (h, w), factor),
            input_signature=[
                tf.TensorSpec([None, None, None, 3]),
                *[tf.TensorSpec([], tf.int32)] * 2,
            ],
        )
        np.testing.assert_allclose(unknown(x, *size), expected, atol=1e-6)


@pytest.mark.parametrize("missing", range(1, 8))
def test_pixels_between_stay_where_the_backbone_has_them(missing):
    """Pixel i of stride 1 is at i / 8 of stride 8, for any number of them."""
    x = tf.range(3.0)[tf.newaxis, :, tf.newaxis, tf.newaxis]
    y = upsample.upsample_bilinear(x, (24 - missing, 1), 8)[0, :, 0, 0]
    expected = np.minimum(np.arange(24 - missing) / 8, 2.0)
    np.testing.assert_allclose(y, expected, atol=1e-6)


@pytest.mark.parametrize("size", [(4, 10), (3, 9), (2, 5)])
@pytest.mark.parametrize(
    "function", [upsample.upsample_nearest, upsample.upsample_bilinear]
)
def test_unknown_sizes_are_upsampled_alike(function, size):
    x = tf.constant(np.random.default_rng(0).normal(size=(1, 2, 5, 3)))
    x = tf.cast(x, tf.float32)
    unknown = tf.function(
        lambda x, size: function(x, tf.unstack(size, 2)),
        input_signature=[
            tf.TensorSpec([None, None, None, 3]),
            tf.TensorSpec([2], tf.int32),
        ],
    )
    np.testing.assert_allclose(
        unknown(x, tf.constant(size)), function(x, size), atol=1e-6
    )


def test_levels_that_do_not_follow_each_other_are_refused():
    with pytest.raises(ValueError, match="3 to 4 are possible"):
        upsample.upsample_bilinear(tf.ones([1, 2, 2, 1]), (5, 5))


def test_groups_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ValueError, match="divide"):
        group_norm.GroupNorm(3).build((None, None, None, 8))


def _count(layer, shape):
    layer.build(shape)
    return layer.count_params()


def test_parameters_are_as_many_as_in_detectron2():
    shape = dict.fromkeys(feature_pyramid.LEVELS, (None, None, None, 256))
    branch = feature_pyramid.SemanticBranch(54, 128)
    assert _count(branch, shape) == 1_630_774
    path = reference.folder() / "peer_head_parameter_counts.json"
    if path.exists():
        counts = json.loads(path.read_text())
        expected = counts["SemSegFPNHead(256->128,54 classes,GN)"]
        assert branch.count_params() == expected


def test_parameters_of_the_other_parts_follow_from_their_sizes():
    # As in detectron2's R50-FPN model of 80 classes.
    shapes = {
        key: (None, None, None, 256 << index)
        for index, key in enumerate(feature_pyramid.ENDPOINTS)
    }
    assert _count(feature_pyramid.FeaturePyramid(), shapes) == 3_344_384
    map_shape = (None, None, None, 256)
    proposals = roi_heads.ProposalHead(3)
    assert _count(proposals, {"p2": map_shape}) == 593_935
    boxes = roi_heads.BoxHead(80)
    assert _count(boxes, (None, 7, 7, 256)) == 14_306_705
    masks = roi_heads.MaskHead(80)
    assert _count(masks, map_shape) == 2_643_280


def test_separable_heads_have_the_parameters_of_their_sizes():
    map_shape = (None, None, None, 256)
    pair = 9 * 256 + 256 * 256 + 2 * 2 * 256
    proposals = roi_heads.ProposalHead(3, separable=True)
    proposals.build({"p2": map_shape})
    count = sum(math.prod(v.shape) for v in proposals.trainable_variables)
    assert count == pair + 5 * 3 * 257
    masks = roi_heads.MaskHead(8, separable=True)
    masks.build(map_shape)
    count = sum(math.prod(v.shape) for v in masks.trainable_variables)
    assert count == 4 * pair + (4 * 256 + 1) * 256 + 8 * 257


def test_kernels_start_with_the_published_spread():
    keras.utils.set_random_seed(0)
    branch = feature_pyramid.SemanticBranch(5, 64)
    branch.build(dict.fromkeys(feature_pyramid.LEVELS, (None, None, None, 32)))
    kernel = branch.variables[0].numpy()
    assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.05)
