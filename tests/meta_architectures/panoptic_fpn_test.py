# SPDX-License-Identifier: Apache-2.0
"""Panoptic FPN as a system: options that only it has."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.losses import cross_entropy
from deeplab2_like.model.decoders.feature_pyramid import LEVELS
from deeplab2_like.model.layers import roi_align


@pytest.mark.slow
def test_semantic_fpn_alone_has_all_classes(fpn):
    def change(options):
        system = options.model_options.panoptic_fpn
        system.instance.enable = False
        losses = options.trainer_options.loss_options
        for name in fpn.instance_losses:
            losses.ClearField(name)

    system, model = fpn.build(change)
    assert not system.has_instances
    images, targets, _ = fpn.make_batch(system, [0, 1])
    outputs = system.infer_for_training(model, images, targets)
    number = system.descriptor.num_classes
    assert outputs["semantic_logits"].shape[-1] == number
    assert set(system.compute_losses(outputs, targets)) == {"semantic_loss"}
    assert system.postprocess(outputs, fpn.size).panoptic is None


@pytest.mark.slow
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


def test_an_even_canvas_has_half_pixel_centers(fpn):
    def change(options):
        for split in ("train_dataset_options", "eval_dataset_options"):
            getattr(options, split).canvas_remainder = 0
            getattr(options, split).crop_size[:] = [64, 128]

    size = (64, 128)
    system, model = fpn.build(change)
    images, targets, _ = fpn.make_batch(system, [0, 1], size)
    outputs = system.infer(model, images)
    logits = np.random.default_rng(0).normal(0.0, 5.0, (2, 16, 32, 6))
    outputs["semantic_logits"] = tf.constant(logits, tf.float32)
    # Without objects the map shows the classes of the upsampled logits.
    outputs["is_box"] = tf.zeros_like(outputs["is_box"])
    resized = tf.image.resize(logits, size)
    found = system.postprocess(outputs, size).semantic.numpy()
    channel = np.argmax(resized, axis=-1)
    classes = np.array(system._channel_classes)[channel]
    kept = found != system.descriptor.ignore_label
    np.testing.assert_array_equal(found[kept], classes[kept])
    assert kept.mean() > 0.3
    losses = system.compute_losses(
        system.infer(model, images, targets=targets)
        | {"semantic_logits": outputs["semantic_logits"]},
        targets,
    )
    expected = cross_entropy.compute_mean_cross_entropy(
        resized, targets["semantic"], ignore_label=-1
    )
    np.testing.assert_allclose(
        losses["semantic_loss"], 0.5 * expected, rtol=1e-5
    )


def test_regions_are_read_at_the_points_of_the_config(fpn):
    def change(options):
        branch = options.model_options.panoptic_fpn.instance
        branch.sampling_points, branch.adaptive_sampling = 5, True

    _, model = fpn.build(change)
    options = model.instance_branch.options
    assert (options.sampling_points, options.adaptive_sampling) == (5, True)
    boxes = tf.constant([[[0.0, 0.0, 64.0, 128.0], [3.0, 5.0, 20.0, 17.0]]])
    generator = np.random.default_rng(1)
    levels = {
        name: tf.constant(generator.normal(size=(1, 16 >> i, 32 >> i, 32)))
        for i, name in enumerate(LEVELS)
    }
    pooled = model.instance_branch._pool_rois(levels, boxes, 7)
    expected = roi_align.align_regions(
        list(levels.values()),
        boxes,
        roi_align.choose_levels(boxes, 4),
        strides=[4, 8, 16, 32],
        sampling=roi_align.Sampling(7, 5, is_adaptive=True),
    )
    np.testing.assert_array_equal(pooled, expected[0])
