# SPDX-License-Identifier: Apache-2.0
"""The model of EfficientPS: what its branches give."""

import pytest


def test_masks_may_be_logits(built_models, inputs):
    model = built_models("efficientps")
    masks = model(inputs[0], training=False)["masks"].numpy()
    assert masks.min() < 0.0


def test_one_branch_of_a_kind_is_enough_and_at_most(tiny_models, inputs):
    images, targets = inputs
    solov2 = tiny_models["efficientps_solov2"]
    alone = solov2.make(semantic=None)
    trained = alone(images, targets=targets, training=True)
    assert trained["mask_logits"].shape == (2, 7, 17, 25)
    assert "semantic_logits" not in trained
    mask_rcnn = tiny_models["efficientps"].options["mask_rcnn"]
    with pytest.raises(ValueError, match="one instance branch"):
        solov2.make(mask_rcnn=mask_rcnn)
