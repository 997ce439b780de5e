# SPDX-License-Identifier: Apache-2.0
"""The model of Panoptic FPN: what Mask R-CNN learns from, single branches."""

import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture
def fpn(tiny_models):
    return tiny_models["panoptic_fpn"]


@pytest.fixture
def model(built_models):
    return built_models("panoptic_fpn")


@pytest.mark.slow
def test_inference_is_the_same_in_every_mode(model, inputs):
    images, _ = inputs
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


def test_training_gives_what_the_losses_compare(model, inputs):
    images, targets = inputs
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


def test_true_boxes_have_full_masks_and_zero_codes(model, inputs):
    images, targets = inputs
    outputs = model(images, targets=targets, training=False)
    is_object = outputs["mask_is_object"].numpy()
    codes = outputs["region_code_targets"].numpy()[:, :3]
    is_exact = is_object & (np.abs(codes).max(axis=-1) < 1e-6)
    assert is_exact.any()
    masks = outputs["mask_targets"].numpy()
    assert masks[is_exact].min() == 1.0


def test_targets_in_evaluation_use_the_same_choice_each_time(model, inputs):
    images, targets = inputs
    outputs = [model(images, targets=targets, training=False) for _ in range(2)]
    assert {"boxes", "region_class"} <= set(outputs[0])
    for name, value in outputs[0].items():
        np.testing.assert_array_equal(value, outputs[1][name])


def test_choices_differ_from_step_to_step_and_follow_from_the_seed(fpn, inputs):
    images, targets = inputs
    runs = []
    for _ in range(2):
        model = fpn.make(seed=3, semantic=None)
        runs.append(
            [
                model(images, targets=targets, training=True)["anchor_codes"]
                for _ in range(2)
            ]
        )
    np.testing.assert_allclose(runs[0][0], runs[1][0], atol=1e-5)
    assert not np.allclose(runs[0][0], runs[0][1], atol=1e-5)


def test_either_branch_works_alone(fpn, inputs):
    images, targets = inputs
    semantic = fpn.make(instance=None)(images, training=False)
    assert set(semantic) == {"semantic_logits"}
    alone = fpn.make(semantic=None)
    assert "semantic_logits" not in alone(images, training=False)
    trained = alone(images, targets=targets, training=True)
    assert "region_logits" in trained
    with pytest.raises(ValueError, match="semantic or an instance"):
        fpn.make(semantic=None, instance=None)


def test_learned_weights_of_losses_are_variables_of_the_model(fpn, inputs):
    model = fpn.make(weighed_losses=("mask_loss", "box_loss"))
    images, targets = inputs
    outputs = model(images, targets=targets, training=True)
    np.testing.assert_array_equal(outputs["log_variances"], [0, 0])
    assert "panoptic_fpn/log_variances/values" in {
        v.path for v in model.trainable_variables
    }
