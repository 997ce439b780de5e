# SPDX-License-Identifier: Apache-2.0
"""The model of EfficientPS: both instance branches, training, modes."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model.backbones import mobilenet_v3
from deeplab2_like.model.efficientps import EfficientPS

SIZE = (65, 97)
GRIDS = (6, 5, 4, 3, 2)
CELLS = sum(side * side for side in GRIDS)
MASK_RCNN = {
    "num_classes": 3,
    "anchor_sizes": (8.0, 16.0, 32.0, 64.0),
    "filters": 8,
    "units": 16,
    "mask_convs": 1,
    "separable": True,
    "gives_mask_logits": True,
    "anchor_samples": 16,
    "region_samples": 12,
    "level_proposals": (20, 15),
    "num_proposals": (12, 10),
    "max_detections": 6,
    "score_threshold": 0.0,
    "candidates": 20,
}
SOLOV2 = {
    "num_classes": 3,
    "kernel_filters": 8,
    "grids": GRIDS,
    "filters": 8,
    "num_convs": 1,
    "feature_filters": 8,
    "groups": 4,
}
BRANCHES = {"mask_rcnn": MASK_RCNN, "solov2": SOLOV2}


def _make_model(branch, **changes):
    keras.utils.set_random_seed(0)
    options = {
        "pyramid": {"filters": 8},
        "semantic": {"num_channels": 5, "filters": 8},
        branch: BRANCHES[branch],
        "batch_norm": {"momentum": 0.9},
        **changes,
    }
    model = EfficientPS(mobilenet_v3.mobilenet_v3_small(32), **options)
    model.build((None, None, None, 3))
    return model


def _make_inputs(batch=2):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, *SIZE, 3)).astype(np.uint8)
    instance = np.zeros((batch, *SIZE), np.int32)
    instance[0, 4:30, 8:50] = 1
    boxes = np.zeros((batch, 5, 4), np.float32)
    boxes[0, 0] = [4, 8, 30, 50]
    box_class = np.full((batch, 5), -1, np.int32)
    box_class[0, 0] = 2
    targets = {
        "instance": instance,
        "boxes": boxes,
        "box_class": box_class,
        "mask_cell": rng.integers(0, CELLS, (batch, 7)).astype(np.int32),
    }
    return tf.constant(images), tf.nest.map_structure(tf.constant, targets)


@pytest.fixture(scope="module", params=BRANCHES)
def branch(request):
    return request.param


@pytest.fixture(scope="module")
def model(branch):
    return _make_model(branch)


def test_inference_gives_logits_and_objects_in_fixed_shapes(model, branch):
    images, _ = _make_inputs()
    outputs = model(images, training=False)
    shapes = {name: tuple(x.shape) for name, x in outputs.items()}
    expected = {"semantic_logits": (2, 17, 25, 5)}
    if branch == "mask_rcnn":
        expected |= {
            "boxes": (2, 6, 4),
            "box_class": (2, 6),
            "box_score": (2, 6),
            "is_box": (2, 6),
            "masks": (2, 6, 28, 28),
        }
    else:
        expected |= {
            "cell_logits": (2, CELLS, 3),
            "cell_kernels": (2, CELLS, 8),
            "mask_features": (2, 17, 25, 8),
        }
    assert shapes == expected


def test_masks_may_be_logits(model, branch):
    if branch == "solov2":
        pytest.skip("its masks are made in post-processing")
    images, _ = _make_inputs()
    masks = model(images, training=False)["masks"].numpy()
    assert masks.min() < 0.0


@pytest.mark.parametrize("size", [(65, 97), (50, 33)])
def test_any_image_size_works_in_one_graph(model, size):
    function = tf.function(
        lambda x: model(x, training=False),
        input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)],
    )
    rng = np.random.default_rng(1)
    images = tf.constant(rng.integers(0, 256, (1, *size, 3)), tf.uint8)
    expected = model(images, training=False)
    for name, value in function(images).items():
        np.testing.assert_allclose(
            tf.cast(value, tf.float32),
            tf.cast(expected[name], tf.float32),
            rtol=1e-3,
            atol=1e-3,
            err_msg=name,
        )


def test_images_of_a_batch_do_not_influence_each_other(model):
    images, _ = _make_inputs()
    together = model(images, training=False)
    alone = model(images[1:], training=False)
    for name, value in alone.items():
        np.testing.assert_allclose(
            value[0], together[name][1], rtol=1e-4, atol=1e-4, err_msg=name
        )


@pytest.mark.slow
@pytest.mark.parametrize("is_compiled", [False, True])
def test_every_variable_gets_a_finite_gradient(branch, is_compiled):
    model = _make_model(branch)
    images, targets = _make_inputs()
    variables = model.trainable_variables
    before = [v.numpy() for v in model.non_trainable_variables]

    def compute():
        with tf.GradientTape() as tape:
            outputs = model(images, targets=targets, training=True)
            ends = ("_logits", "_codes")
            total = tf.add_n(
                [
                    tf.reduce_mean(value**2)
                    for name, value in outputs.items()
                    if name.endswith(ends)
                ]
            )
        return tape.gradient(total, [v.value for v in variables])

    compute = tf.function(compute, jit_compile=is_compiled, autograph=False)
    for variable, gradient in zip(variables, compute(), strict=True):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient).all(), variable.path
    # Every batch norm has seen the batch, those of the parts too.
    for variable, old in zip(
        model.non_trainable_variables, before, strict=True
    ):
        if variable.path.endswith("moving_mean"):
            assert np.abs(variable.numpy() - old).max() > 0, variable.path


def test_bfloat16_keeps_what_comes_out_float32(branch):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        low = _make_model(branch)
    finally:
        keras.config.set_dtype_policy(before)
    images, targets = _make_inputs()
    outputs = low(images, targets=targets, training=False)
    for name, value in outputs.items():
        assert value.dtype in (tf.float32, tf.int32, tf.bool), name
        assert np.isfinite(tf.cast(value, tf.float32)).all(), name


def test_the_config_round_trips_and_weights_are_saved(tmp_path, model):
    images, _ = _make_inputs()
    text = json.dumps(model.get_config())
    again = EfficientPS.from_config(json.loads(text))
    assert json.dumps(again.get_config()) == text
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    expected = model(images, training=False)
    for name, value in loaded(images, training=False).items():
        np.testing.assert_allclose(value, expected[name], atol=1e-4, rtol=1e-4)
    paths = [v.path for v in model.trainable_variables]
    assert [v.path for v in loaded.trainable_variables] == paths
    assert len(set(paths)) == len(paths)


def test_one_branch_of_a_kind_is_enough_and_at_most():
    images, targets = _make_inputs()
    alone = _make_model("solov2", semantic=None)
    trained = alone(images, targets=targets, training=True)
    assert trained["mask_logits"].shape == (2, 7, 17, 25)
    assert "semantic_logits" not in trained
    with pytest.raises(ValueError, match="one instance branch"):
        _make_model("solov2", mask_rcnn=MASK_RCNN)
