# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint and a network do not have in common is named."""

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.checkpoints import initialization
from deeplab2_like.model import build as model_build
from deeplab2_like.protos import model_pb2

_SEMANTIC_FIELD = "restore_semantic_last_layer_from_initial_checkpoint"
_INSTANCE_FIELD = "restore_instance_last_layer_from_initial_checkpoint"
_LAST = "panoptic_deeplab/semantic_head/last"


def test_an_incomplete_encoder_is_an_error(tiny, tmp_path):
    values = {
        path: value
        for path, value in tiny.deeplab2_values().items()
        if path.startswith("encoder/")
    }
    del values["encoder/_blocks/0/_conv/kernel"]
    tiny.save(tmp_path / "ckpt-1", values)
    with pytest.raises(errors.CheckpointError, match="block0/conv/kernel: not"):
        tiny.initialize(tmp_path)
    assert tiny.changed() == set()


def test_a_missing_key_is_named_and_nothing_changes(tiny, tmp_path):
    values = tiny.deeplab2_values()
    del values["semantic_decoder/_aspp/_conv_bn_act/_conv/kernel"]
    tiny.save(tmp_path / "ckpt-1", values)
    with pytest.raises(
        errors.CheckpointError,
        match="semantic_decoder/aspp/conv1x1/conv/kernel: not in the",
    ):
        tiny.initialize(tmp_path)
    assert tiny.changed() == set()


def test_an_extra_key_is_reported(tiny, tmp_path):
    values = tiny.deeplab2_values()
    values["depth_head/_conv/kernel"] = np.ones([1], np.float32)
    tiny.save(tmp_path / "ckpt-1", values)
    report = tiny.initialize(tmp_path)
    tiny.check_loaded(report)
    assert report.unused == ["depth_head/_conv/kernel"]


def test_another_shape_is_named_and_nothing_changes(tiny, tmp_path):
    values = tiny.deeplab2_values()
    key = "encoder/_blocks/0/_conv/kernel"
    values[key] = values[key][..., :-1]
    tiny.save(tmp_path / "ckpt-1", values)
    with pytest.raises(errors.CheckpointError) as info:
        tiny.initialize(tmp_path)
    assert (
        "backbone/block0/conv/kernel: (3, 3, 3, 15) in the checkpoint, "
        "(3, 3, 3, 16) in the model" in str(info.value)
    )
    assert _SEMANTIC_FIELD not in str(info.value)
    assert tiny.changed() == set()


def test_another_number_of_classes_needs_a_field(tiny, tmp_path):
    tiny.save(tmp_path / "ckpt-1", tiny.deeplab2_values(classes=19))
    with pytest.raises(errors.CheckpointError) as info:
        tiny.initialize(tmp_path)
    assert "(1, 1, 16, 19) in the checkpoint" in str(info.value)
    assert f"model_options.{_SEMANTIC_FIELD}: false" in str(info.value)
    assert tiny.changed() == set()
    report = tiny.initialize(tmp_path, **{_SEMANTIC_FIELD: False})
    last = {f"{_LAST}/kernel", f"{_LAST}/bias"}
    assert set(report.skipped) == last
    assert (
        f"{_SEMANTIC_FIELD} is false ((19,) in the checkpoint"
        in report.skipped[f"{_LAST}/bias"]
    )
    tiny.check_loaded(report, set(tiny.expected()) - last)


def test_last_layers_are_left_out_as_the_config_says(tiny, tmp_path):
    tiny.save(tmp_path / "ckpt-1", tiny.deeplab2_values())
    report = tiny.initialize(tmp_path, **{_INSTANCE_FIELD: False})
    heads = {
        f"panoptic_deeplab/{head}/last/{leaf}"
        for head in ("center_head", "offset_head")
        for leaf in ("kernel", "bias")
    }
    assert report.skipped == dict.fromkeys(heads, f"{_INSTANCE_FIELD} is false")
    tiny.check_loaded(report, set(tiny.expected()) - heads)


def test_another_encoder_is_named(tiny, tmp_path):
    tiny.save(tmp_path / "ckpt-1", tiny.deeplab2_values())
    options = model_pb2.ModelOptions()
    options.CopyFrom(tiny.options)
    options.backbone.name = "mobilenet_v3_large"
    other = model_build.build_model(
        options, num_classes=3, train_crop_size=(65, 65)
    )
    with pytest.raises(errors.CheckpointError, match="does not fit the model"):
        initialization.restore_all(str(tmp_path / "ckpt-1"), other)
