# SPDX-License-Identifier: Apache-2.0
"""Panoptic FPN as a system: from a config to losses, segments and exports."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import config as config_lib
from deeplab2_like.metrics import panoptic_quality

_INSTANCE_LOSSES = [
    "proposal_loss",
    "proposal_box_loss",
    "class_loss",
    "box_loss",
    "mask_loss",
]


def test_the_config_is_legal(fpn):
    config_lib.parse(fpn.config)


def test_losses_are_finite_and_those_of_the_config(fpn, built):
    system, model = built
    images, targets, _ = fpn.make_batch(system, [0, 1])
    outputs = system.infer_for_training(model, images, targets)
    losses = system.compute_losses(outputs, targets)
    assert set(losses) == {"semantic_loss", *_INSTANCE_LOSSES}
    for value in losses.values():
        assert value.shape == (2,)
        assert np.isfinite(value).all()
    outputs = system.infer(model, images, targets=targets)
    assert set(system.compute_losses(outputs, targets)) == set(losses)


@pytest.mark.parametrize("label", ["stuff", "void", "crowd"])
def test_images_without_instances_train_and_evaluate(fpn, built, label):
    system, model = built
    images, _, panoptic = fpn.make_batch(system, [0, 1])
    data = system.descriptor
    value = {
        "stuff": data.stuff_ids[0] * data.label_divisor,
        "void": data.void_id,
        "crowd": data.thing_ids[0] * data.label_divisor,
    }[label]
    make_targets = system.target_maker(is_training=True)
    targets = tf.nest.map_structure(
        lambda x: tf.stack([x, x]),
        make_targets(tf.fill(panoptic.shape[1:], value)),
    )
    variables = model.trainable_variables
    with tf.GradientTape() as tape:
        outputs = system.infer_for_training(model, images, targets)
        losses = system.compute_losses(outputs, targets)
        total = tf.add_n([tf.reduce_mean(x) for x in losses.values()])
    gradients = tape.gradient(total, [v.value for v in variables])
    assert all(np.isfinite(g).all() for g in gradients if g is not None)
    outputs = system.infer(model, images, targets=targets)
    assert np.isfinite(
        sum(system.compute_losses(outputs, targets).values())
    ).all()
    system.postprocess(outputs, fpn.size)


def test_groups_are_disjoint_and_complete(built):
    system, model = built
    groups = system.variable_groups(model)
    paths = [v.path for group in groups.values() for v in group]
    assert sorted(paths) == sorted(v.path for v in model.variables)
    assert {"backbone", "semantic_last_layer", "instance_last_layer"} <= set(
        groups
    )
    decayed = {v.path for v in system.decayed_variables(model)}
    assert any("instance_branch" in path for path in decayed)
    assert all(path.endswith("kernel") for path in decayed)


def test_mask_rcnn_alone_finds_instances_only(fpn):
    def change(options):
        system = options.model_options.panoptic_fpn
        system.semantic.enable = False
        options.trainer_options.loss_options.ClearField("semantic_loss")

    system, model = fpn.build(change)
    images, targets, _ = fpn.make_batch(system, [0, 1])
    assert "semantic" not in targets
    outputs = system.infer(model, images, targets=targets)
    assert set(system.compute_losses(outputs, targets)) == set(_INSTANCE_LOSSES)
    prediction = system.postprocess(outputs, fpn.size)
    assert prediction.panoptic.shape == (2, *fpn.size)
    found = set(np.unique(prediction.semantic))
    assert found <= {*system.descriptor.thing_ids, 255}


def test_semantic_fpn_alone_has_all_classes(fpn):
    def change(options):
        system = options.model_options.panoptic_fpn
        system.instance.enable = False
        losses = options.trainer_options.loss_options
        for name in _INSTANCE_LOSSES:
            losses.ClearField(name)

    system, model = fpn.build(change)
    assert not system.has_instances
    images, targets, _ = fpn.make_batch(system, [0, 1])
    outputs = system.infer_for_training(model, images, targets)
    number = system.descriptor.num_classes
    assert outputs["semantic_logits"].shape[-1] == number
    assert set(system.compute_losses(outputs, targets)) == {"semantic_loss"}
    assert system.postprocess(outputs, fpn.size).panoptic is None


def test_things_may_have_channels_of_their_own(fpn):
    def change(options):
        options.model_options.panoptic_fpn.semantic.separate_things = True

    system, model = fpn.build(change)
    images, targets, panoptic = fpn.make_batch(system, [0, 1])
    classes = panoptic // system.descriptor.label_divisor
    expected = np.where(classes == 255, -1, classes)
    np.testing.assert_array_equal(targets["semantic"], expected)
    outputs = system.infer(model, images)
    number = system.descriptor.num_classes
    assert outputs["semantic_logits"].shape[-1] == number
    system.postprocess(outputs, fpn.size)


def test_learned_weights_and_the_soft_quality_come_by_config(fpn):
    def change(options):
        losses = options.trainer_options.loss_options
        losses.learn_weights = True
        losses.soft_panoptic_quality_loss.name = "soft_panoptic_quality"
        losses.soft_panoptic_quality_loss.weight = 0.25

    system, model = fpn.build(change)
    images, targets, _ = fpn.make_batch(system, [0, 1])
    with tf.GradientTape() as tape:
        outputs = system.infer_for_training(model, images, targets)
        losses = system.compute_losses(outputs, targets)
        total = tf.add_n([tf.reduce_mean(x) for x in losses.values()])
    assert "soft_panoptic_quality_loss" in losses
    etas = model.log_variances.values
    gradient = tape.gradient(total, etas.value)
    assert gradient.shape == (6,)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


@pytest.mark.slow
def test_a_few_scenes_are_learned_by_heart(fpn):
    system, model = fpn.build()
    size = (129, 257)
    images, targets, panoptic = fpn.make_batch(system, range(100, 104), size)
    variables = model.trainable_variables
    optimizer = keras.optimizers.Adam(2e-3)
    optimizer.build(variables)
    for layer in model._flatten_layers():
        if hasattr(layer, "momentum"):
            layer.momentum = 0.9

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            outputs = system.infer_for_training(model, images, targets)
            losses = system.compute_losses(outputs, targets)
            total = tf.add_n([tf.reduce_mean(x) for x in losses.values()])
        gradients = tape.gradient(total, [v.value for v in variables])
        gradients, _ = tf.clip_by_global_norm(gradients, 5.0)
        optimizer.apply(gradients, variables)
        return losses

    for number in range(600):
        if number == 450:
            optimizer.learning_rate = 3e-4
        step()
    prediction = system.postprocess(system.infer(model, images), size)
    quality = panoptic_quality.PanopticQuality.from_descriptor(
        system.descriptor
    )
    for true, predicted in zip(panoptic, prediction.panoptic, strict=True):
        quality.update(true, predicted.numpy())
    assert quality.result().scalars()["PQ"] > 0.8
