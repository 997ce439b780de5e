# SPDX-License-Identifier: Apache-2.0
import copy
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model.backbones.resnet import ResNet, StageSpec
from deeplab2_like.model.encoder_input import normalize_images
from deeplab2_like.model.panoptic_deeplab import (
    InstanceBranchOptions,
    PanopticDeepLab,
)
from deeplab2_like.testing import harness

_ASPP = {"filters": 6, "atrous_rates": [1, 2, 3], "pool_size": [3, 4]}


def _make_backbone(name="backbone"):
    stages = [StageSpec(n, "basic", 1, (4, 6)) for n in (2, 3, 4, 5)]
    return ResNet(stages, 16, stem="conv3", stem_filters=4, name=name)


def _make_model(with_instances=True, backbone=None):
    branch = None
    if with_instances:
        branch = InstanceBranchOptions(
            decoder={
                "low_level": [("res3", 3), ("res2", 2)],
                "aspp": _ASPP,
                "fusion_channels": 4,
            },
            center_head={"head_channels": 3},
            offset_head={"head_channels": 3},
        )
    return PanopticDeepLab(
        backbone or _make_backbone(),
        5,
        semantic_decoder={
            "low_level": [("res3", 4), ("res2", 3)],
            "aspp": _ASPP,
            "fusion_channels": 7,
        },
        semantic_head={"head_channels": 6},
        instance=branch,
    )


@pytest.mark.parametrize(
    "with_instances", [True, pytest.param(False, marks=pytest.mark.slow)]
)
def test_the_model_passes_the_harness(with_instances, tmp_path):
    harness.check_model(lambda: _make_model(with_instances), tmp_path)


@pytest.mark.parametrize("with_instances", [True, False])
def test_the_config_is_that_of_earlier_versions(with_instances):
    # Keys and values as files from before the grouping have them.
    branch = dict.fromkeys(("instance_decoder", "center_head", "offset_head"))
    if with_instances:
        branch = {
            "instance_decoder": {
                "low_level": [["res3", 3], ["res2", 2]],
                "aspp": _ASPP,
                "fusion_channels": 4,
            },
            "center_head": {"head_channels": 3},
            "offset_head": {"head_channels": 3},
        }
    flat = {
        "name": "panoptic_deeplab",
        "trainable": True,
        "num_classes": 5,
        "semantic_decoder": {
            "low_level": [["res3", 4], ["res2", 3]],
            "aspp": _ASPP,
            "fusion_channels": 7,
        },
        "semantic_head": {"head_channels": 6},
        **branch,
        "batch_norm": {},
        "weighed_losses": [],
        "backbone": keras.saving.serialize_keras_object(_make_backbone()),
    }
    before = copy.deepcopy(flat)
    restored = PanopticDeepLab.from_config(flat)
    assert flat == before
    saved = json.loads(json.dumps(restored.get_config()))
    del saved["dtype"]
    assert saved.keys() == flat.keys()
    assert {key: saved[key] for key in saved if key != "backbone"} == {
        key: flat[key] for key in flat if key != "backbone"
    }
    made = _make_model(with_instances)
    for model in (restored, made):
        model.build((None, None, None, 3))
    assert [v.path for v in restored.variables] == [
        v.path for v in made.variables
    ]


def test_outputs_have_a_quarter_of_the_resolution():
    outputs = _make_model()(np.zeros((2, 33, 65, 3), np.uint8))
    assert {key: value.shape.as_list() for key, value in outputs.items()} == {
        "semantic_logits": [2, 9, 17, 5],
        "center_heatmap": [2, 9, 17, 1],
        "offset_map": [2, 9, 17, 2],
    }


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 16), (200, 7)])
def test_any_size_works(size):
    model = _make_model()
    model.build((None, None, None, 3))
    outputs = model(np.zeros((1, *size, 3), np.uint8))
    expected = [(side + 3) // 4 for side in size]
    assert outputs["offset_map"].shape[1:3] == expected


def test_without_instances_only_logits_are_given():
    model = _make_model(with_instances=False)
    assert list(model(np.zeros((1, 33, 33, 3), np.uint8))) == [
        "semantic_logits"
    ]
    assert model.instance_decoder is None
    assert model.center_head is None


def test_the_parts_share_out_the_variables():
    model = _make_model()
    model.build((None, None, None, 3))
    parts = [
        model.backbone,
        model.semantic_decoder,
        model.semantic_head,
        model.instance_decoder,
        model.center_head,
        model.offset_head,
    ]
    of_parts = [v.path for part in parts for v in part.variables]
    assert sorted(of_parts) == sorted(v.path for v in model.variables)
    last = [v.path for v in model.semantic_head.last_layer.variables]
    assert last == [
        "panoptic_deeplab/semantic_head/last/kernel",
        "panoptic_deeplab/semantic_head/last/bias",
    ]


def test_grey_is_the_zero_of_the_network():
    model = _make_model()
    model.build((None, None, None, 3))
    seen = []
    original = model.backbone.call
    model.backbone.call = lambda x, training=None: (
        seen.append(x.numpy()) or original(x, training=training)
    )
    model(np.full((1, 9, 9, 3), 127.5, np.float32))
    model(np.full((1, 9, 9, 3), 255, np.uint8))
    assert np.all(seen[0] == 0.0)
    assert np.all(seen[1] == 1.0)


def test_images_are_normalised_before_they_are_rounded():
    model = _make_model()
    model.build((None, None, None, 3))
    x = tf.constant([[[[200.3, 200.6, 201.2]]]])
    low = tf.cast(normalize_images(x, "bfloat16"), tf.float32)
    np.testing.assert_allclose(low, x / 127.5 - 1.0, atol=2e-3)


def test_a_backbone_that_is_built_already_is_refused():
    backbone = _make_backbone()
    backbone.build((None, None, None, 3))
    with pytest.raises(ValueError, match="'backbone' is already built"):
        _make_model(backbone=backbone).build((None, None, None, 3))


def test_one_training_step_lowers_the_loss():
    tf.random.set_seed(0)
    model = _make_model()
    model.build((None, None, None, 3))
    images = np.random.default_rng(0).integers(0, 256, (2, 33, 33, 3))
    images = images.astype(np.uint8)

    def compute_loss():
        outputs = model(images, training=True)
        return tf.add_n(
            [tf.reduce_mean((y - 1) ** 2) for y in outputs.values()]
        )

    losses = []
    for _ in range(5):
        with tf.GradientTape() as tape:
            loss = compute_loss()
        losses.append(float(loss))
        gradients = tape.gradient(loss, model.trainable_variables)
        for variable, gradient in zip(
            model.trainable_variables, gradients, strict=True
        ):
            variable.assign(variable.value - 0.05 * gradient)
    assert losses[-1] < losses[0]
