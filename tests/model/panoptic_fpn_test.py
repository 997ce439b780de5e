# SPDX-License-Identifier: Apache-2.0
"""The model of Panoptic FPN: outputs, training, modes, precision."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.detection import boxes as boxes_lib
from deeplab2_like.model import instance_branch
from deeplab2_like.model.backbones import mobilenet_v3
from deeplab2_like.model.panoptic_fpn import PanopticFPN

SIZE = (65, 97)
INSTANCE = {
    "num_classes": 3,
    "anchor_sizes": (8.0, 16.0, 32.0, 64.0, 96.0),
    "filters": 8,
    "units": 16,
    "mask_convs": 1,
    "anchor_samples": 16,
    "region_samples": 12,
    "level_proposals": (20, 15),
    "num_proposals": (12, 10),
    "max_detections": 6,
    "score_threshold": 0.0,
    "candidates": 20,
}
SEMANTIC = {"num_channels": 4, "filters": 8, "groups": 4}


def _make_model(seed=0, **changes):
    keras.utils.set_random_seed(seed)
    options = {
        "pyramid_filters": 8,
        "semantic": SEMANTIC,
        "instance": INSTANCE,
        **changes,
    }
    model = PanopticFPN(mobilenet_v3.mobilenet_v3_small(32), **options)
    model.build((None, None, None, 3))
    return model


def _make_inputs(batch=2):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, *SIZE, 3)).astype(np.uint8)
    instance = np.zeros((batch, *SIZE), np.int32)
    instance[0, 4:30, 8:50] = 1
    instance[0, 40:60, 60:97] = 2
    boxes = np.zeros((batch, 5, 4), np.float32)
    boxes[0, :2] = [[4, 8, 30, 50], [40, 60, 60, 97]]
    box_class = np.full((batch, 5), -1, np.int32)
    box_class[0, :2] = [2, 0]
    targets = {"instance": instance, "boxes": boxes, "box_class": box_class}
    return tf.constant(images), tf.nest.map_structure(tf.constant, targets)


@pytest.fixture(scope="module")
def model():
    return _make_model()


def test_inference_gives_logits_and_objects_in_fixed_shapes(model):
    images, _ = _make_inputs()
    outputs = model(images, training=False)
    shapes = {name: tuple(x.shape) for name, x in outputs.items()}
    assert shapes == {
        "semantic_logits": (2, 17, 25, 4),
        "boxes": (2, 6, 4),
        "box_class": (2, 6),
        "box_score": (2, 6),
        "is_box": (2, 6),
        "masks": (2, 6, 28, 28),
    }
    boxes = outputs["boxes"].numpy()
    assert boxes.min() >= 0
    assert (boxes <= [*SIZE, *SIZE]).all()
    assert outputs["is_box"].numpy().any()


def test_inference_is_the_same_in_every_mode(model):
    images, _ = _make_inputs()
    expected = model(images, training=False)
    for options in ({}, {"jit_compile": True}):
        function = tf.function(
            lambda x: model(x, training=False), autograph=False, **options
        )
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


def test_any_image_size_works_in_one_graph(model):
    function = tf.function(
        lambda x: model(x, training=False),
        input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)],
    )
    for size in ((65, 97), (64, 64), (50, 33), (7, 9)):
        rng = np.random.default_rng(1)
        images = tf.constant(rng.integers(0, 256, (1, *size, 3)), tf.uint8)
        expected = model(images, training=False)
        for name, value in function(images).items():
            np.testing.assert_allclose(
                tf.cast(value, tf.float32),
                tf.cast(expected[name], tf.float32),
                atol=1e-3,
                err_msg=name,
            )


def test_training_gives_what_the_losses_compare(model):
    images, targets = _make_inputs()
    outputs = model(images, targets=targets, training=True)
    assert "boxes" not in outputs
    is_object = outputs["region_is_object"].numpy()
    # Image 0 has its true boxes among the regions; image 1 has no object.
    assert is_object[0].any()
    assert not is_object[1].any()
    assert not outputs["anchor_is_object"].numpy()[1].any()
    classes = outputs["region_class"].numpy()
    assert set(classes[is_object]) <= {0, 2}
    assert (classes[~is_object] == 3).all()
    np.testing.assert_array_equal(is_object[:, :3], outputs["mask_is_object"])
    assert outputs["mask_logits"].shape == (2, 3, 28, 28)


def test_true_boxes_have_full_masks_and_zero_codes(model):
    images, targets = _make_inputs()
    outputs = model(images, targets=targets, training=False)
    is_object = outputs["mask_is_object"].numpy()
    codes = outputs["region_code_targets"].numpy()[:, :3]
    is_exact = is_object & (np.abs(codes).max(axis=-1) < 1e-6)
    assert is_exact.any()
    masks = outputs["mask_targets"].numpy()
    assert masks[is_exact].min() == 1.0


def test_targets_in_evaluation_use_the_same_choice_each_time(model):
    images, targets = _make_inputs()
    outputs = [model(images, targets=targets, training=False) for _ in range(2)]
    assert {"boxes", "region_class"} <= set(outputs[0])
    for name, value in outputs[0].items():
        np.testing.assert_array_equal(value, outputs[1][name])


def test_choices_differ_from_step_to_step_and_follow_from_the_seed():
    images, targets = _make_inputs()
    runs = []
    for _ in range(2):
        model = _make_model(seed=3)
        runs.append(
            [
                model(images, targets=targets, training=True)["anchor_codes"]
                for _ in range(2)
            ]
        )
    np.testing.assert_allclose(runs[0][0], runs[1][0], atol=1e-5)
    assert not np.allclose(runs[0][0], runs[0][1], atol=1e-5)


@pytest.mark.parametrize(
    "is_compiled", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_every_variable_gets_a_finite_gradient(is_compiled):
    model = _make_model()
    images, targets = _make_inputs()
    variables = model.trainable_variables

    def compute():
        with tf.GradientTape() as tape:
            outputs = model(images, targets=targets, training=True)
            names = [
                "semantic_logits",
                "anchor_logits",
                "anchor_codes",
                "region_logits",
                "region_codes",
                "mask_logits",
            ]
            total = tf.add_n(
                [tf.reduce_mean(outputs[name] ** 2) for name in names]
            )
        return tape.gradient(total, [v.value for v in variables])

    compute = tf.function(compute, jit_compile=is_compiled, autograph=False)
    for variable, gradient in zip(variables, compute(), strict=True):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient).all(), variable.path


def test_bfloat16_keeps_boxes_float32():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        low = _make_model()
    finally:
        keras.config.set_dtype_policy(before)
    images, targets = _make_inputs()
    outputs = low(images, targets=targets, training=False)
    for name, value in outputs.items():
        assert value.dtype in (tf.float32, tf.int32, tf.bool), name
        assert np.isfinite(tf.cast(value, tf.float32)).all(), name
    exact = boxes_lib.clip(outputs["boxes"], tf.constant([SIZE] * 2))
    np.testing.assert_array_equal(exact, outputs["boxes"])
    assert all(v.dtype == "float32" for v in low.trainable_variables)


def test_either_branch_works_alone():
    images, targets = _make_inputs()
    semantic = _make_model(instance=None)(images, training=False)
    assert set(semantic) == {"semantic_logits"}
    alone = _make_model(semantic=None)
    assert "semantic_logits" not in alone(images, training=False)
    trained = alone(images, targets=targets, training=True)
    assert "region_logits" in trained
    with pytest.raises(ValueError, match="semantic or an instance"):
        _make_model(semantic=None, instance=None)


def test_the_config_round_trips_and_weights_are_saved(tmp_path, model):
    images, _ = _make_inputs()
    text = json.dumps(model.get_config())
    again = PanopticFPN.from_config(json.loads(text))
    assert json.dumps(again.get_config()) == text
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    expected = model(images, training=False)
    for name, value in loaded(images, training=False).items():
        np.testing.assert_allclose(value, expected[name], atol=1e-5)
    paths = [v.path for v in model.trainable_variables]
    assert [v.path for v in loaded.trainable_variables] == paths
    assert len(set(paths)) == len(paths)


def test_learned_weights_of_losses_are_variables_of_the_model():
    model = _make_model(weighed_losses=("mask_loss", "box_loss"))
    images, targets = _make_inputs()
    outputs = model(images, targets=targets, training=True)
    np.testing.assert_array_equal(outputs["log_variances"], [0, 0])
    assert "panoptic_fpn/log_variances/values" in {
        v.path for v in model.trainable_variables
    }


@pytest.mark.parametrize("count", [0, 6])
def test_there_are_no_more_sizes_of_anchors_than_levels(count):
    with pytest.raises(ValueError, match="5 levels"):
        instance_branch.InstanceOptions(2, anchor_sizes=(32.0,) * count)
