# SPDX-License-Identifier: Apache-2.0
import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model.decoders import feature_pyramid
from deeplab2_like.model.heads import solov2_heads
from deeplab2_like.model.layers import resize
from deeplab2_like.testing import harness, reference

GRIDS = (7, 6, 4, 3, 2)


def _shapes(batch, height, width, channels=8):
    return {
        level: (batch, (height - 1) // s + 1, (width - 1) // s + 1, channels)
        for level, s in feature_pyramid.STRIDES.items()
    }


def _make_head(**options):
    return solov2_heads.GridHead(
        3, 4, grids=GRIDS, filters=8, num_convs=1, groups=4, **options
    )


@pytest.mark.slow
def test_the_head_passes_the_harness(tmp_path):
    harness.check_layer(
        lambda: _make_head(name="cells"),
        tmp_path,
        shapes=[_shapes(2, 65, 97), _shapes(1, 90, 50)],
    )


@pytest.mark.slow
def test_the_features_pass_the_harness(tmp_path):
    harness.check_layer(
        lambda: solov2_heads.MaskFeatureBranch(6, 4, groups=2, name="features"),
        tmp_path,
        shapes=[_shapes(2, 65, 97), _shapes(1, 90, 50)],
    )


@pytest.mark.parametrize("size", [(257, 513), (360, 480), (33, 7)])
def test_shapes_do_not_depend_on_the_image(size):
    head = _make_head()
    levels = {k: tf.ones(shape) for k, shape in _shapes(2, *size).items()}
    head.build({k: x.shape for k, x in levels.items()})
    logits, kernels = head(levels)
    cells = sum(side * side for side in GRIDS)
    assert logits.shape == (2, cells, 3)
    assert kernels.shape == (2, cells, 4)
    branch = solov2_heads.MaskFeatureBranch(6, 4, groups=2)
    branch.build({k: x.shape for k, x in levels.items()})
    features = branch(levels)
    assert features.shape == (2, *levels["p2"].shape[1:3], 6)
    masks = solov2_heads.apply_kernels(features, tf.ones([2, 5, 6]))
    assert masks.shape == (2, 5, *levels["p2"].shape[1:3])


def test_coordinates_go_from_minus_one_to_one_x_first():
    x = solov2_heads.append_coordinates(tf.zeros([2, 3, 5, 1]))[1, ..., 1:]
    np.testing.assert_allclose(x[1, :, 0], np.linspace(-1, 1, 5))
    np.testing.assert_allclose(x[:, 2, 1], np.linspace(-1, 1, 3))
    one = solov2_heads.append_coordinates(tf.zeros([1, 1, 1, 1]))
    assert np.isfinite(one).all()


def test_kernels_are_applied_as_convolutions():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2, 5, 7, 4)).astype(np.float32)
    kernels = rng.normal(size=(2, 3, 4)).astype(np.float32)
    masks = solov2_heads.apply_kernels(features, kernels)
    expected = np.einsum("bhwe,bne->bnhw", features, kernels)
    np.testing.assert_allclose(masks, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(3, 4), (9, 5), (16, 1)])
def test_half_pixel_resizing_is_that_of_tensorflow(size):
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(2, 7, 5, 3)), tf.float32)
    expected = tf.raw_ops.ResizeBilinear(
        images=x, size=size, half_pixel_centers=True
    )
    compiled = tf.function(
        lambda x: resize.resize_half_pixel(x, size), jit_compile=True
    )
    np.testing.assert_allclose(
        resize.resize_half_pixel(x, size), expected, atol=1e-6
    )
    np.testing.assert_allclose(compiled(x), expected, atol=1e-6)


def test_a_grid_for_each_level_is_required():
    with pytest.raises(ValueError, match="5 levels"):
        solov2_heads.GridHead(3, grids=(3, 2))


def test_cells_start_without_objects():
    keras.utils.set_random_seed(0)
    head = _make_head()
    levels = {k: tf.ones(shape) for k, shape in _shapes(1, 65, 65).items()}
    head.build({k: x.shape for k, x in levels.items()})
    probability = tf.sigmoid(head(levels)[0])
    np.testing.assert_allclose(probability, 0.01, rtol=0.5)


def test_parameters_are_as_many_as_published():
    shapes = dict.fromkeys(feature_pyramid.STRIDES, (None, None, None, 256))
    head = solov2_heads.GridHead(80)
    head.build(shapes)
    assert sum(math.prod(v.shape) for v in head.variables) == 18_081_104
    branch = solov2_heads.MaskFeatureBranch()
    branch.build(shapes)
    assert sum(math.prod(v.shape) for v in branch.variables) == 1_659_392
    path = reference.folder() / "peer_head_parameter_counts.json"
    if path.exists():
        counts = json.loads(path.read_text())
        name = "SOLOv2Head(80 classes,256->512,4 convs,E=256)"
        assert counts[name] == 18_081_104
        assert counts["MaskFeatHead(256->128->256)"] == 1_659_392
