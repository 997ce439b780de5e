# SPDX-License-Identifier: Apache-2.0
"""Panoptic FPN as a system: options that only it has."""

import numpy as np


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
