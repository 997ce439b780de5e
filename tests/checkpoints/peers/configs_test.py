# SPDX-License-Identifier: Apache-2.0
"""The configs that are written for converted models."""

import pytest

from deeplab2_like import config as config_lib
from deeplab2_like.checkpoints.peers import (
    configs,
    panoptic_deeplab,
    panoptic_fpn,
)
from deeplab2_like.checkpoints.peers import state as state_lib


def _parse(text):
    """Returns the options; all findings are about the files of records."""
    config = config_lib.parse(text, environ={})
    for warning in config.warnings:
        assert warning.path.endswith("file_pattern[0]"), warning
    return config.options


def _write(arrays, dataset, checkpoint="/x/ckpt-0", source="a.pth"):
    sizes = panoptic_deeplab.measure(state_lib.State("x", arrays, "it"))
    return configs.write_panoptic_deeplab(
        sizes, dataset=dataset, source=source, checkpoint=checkpoint
    )


@pytest.mark.parametrize("depth", [50, 101])
def test_cityscapes_is_as_published(make_panoptic_deeplab, depth):
    arrays = make_panoptic_deeplab(depth=depth)
    options = _parse(_write(arrays, "cityscapes_panoptic"))
    model = options.model_options
    assert model.backbone.name == f"resnet{depth}"
    assert model.backbone.graph == "torchvision"
    assert model.backbone.output_stride == 32
    assert list(model.decoder.atrous_rates) == [3, 6, 9]
    system = model.panoptic_deeplab
    low_level = [(x.feature_key, x.channels_project) for x in system.low_level]
    assert low_level == [("res4", 128), ("res3", 64), ("res2", 32)]
    assert system.semantic_head.output_channels == 19
    solver = options.trainer_options.solver_options
    assert solver.batchnorm_epsilon == pytest.approx(1e-5)
    for split in (options.train_dataset_options, options.eval_dataset_options):
        assert list(split.crop_size) == [1025, 2049]
        assert list(split.padding_color) == [123, 116, 103]
    evaluator = options.evaluator_options
    assert (evaluator.nms_kernel, evaluator.keep_k_centers) == (7, 200)
    assert evaluator.stuff_area_limit == 2048


def test_coco_and_stride_16_and_semantic_models_have_configs(
    make_panoptic_deeplab,
):
    arrays = make_panoptic_deeplab(133, projected=(64, 32))
    options = _parse(_write(arrays, "coco_panoptic"))
    model = options.model_options
    assert model.backbone.output_stride == 16
    assert list(model.decoder.atrous_rates) == [6, 12, 18]
    assert model.panoptic_deeplab.semantic_head.output_channels == 134
    assert options.evaluator_options.nms_kernel == 41
    arrays = make_panoptic_deeplab(has_instance=False)
    options = _parse(_write(arrays, "cityscapes_panoptic"))
    assert not options.model_options.panoptic_deeplab.instance.enable


def test_panoptic_fpn_reads_and_pads_as_detectron2(make_panoptic_fpn):
    arrays = make_panoptic_fpn(depth=101)
    sizes = panoptic_fpn.measure(state_lib.State("x", arrays, "it"))
    text = configs.write_panoptic_fpn(
        sizes, source="model_final.pkl", checkpoint="ckpt-0"
    )
    assert "# model_final.pkl." in text
    options = _parse(text)
    backbone = options.model_options.backbone
    assert (backbone.name, backbone.graph) == ("resnet101", "detectron2")
    instance = options.model_options.panoptic_fpn.instance
    assert instance.adaptive_sampling
    assert instance.sampling_points == 12
    for split in (options.train_dataset_options, options.eval_dataset_options):
        assert split.canvas_remainder == 0
        assert list(split.padding_color) == pytest.approx(
            [123.675, 116.28, 103.53]
        )
    assert options.eval_dataset_options.pad_to_multiple_of == 32


@pytest.mark.parametrize("name", ['a"b.pth', "a\nb.pth", "a'b.pth", "ä{}.pth"])
def test_any_names_of_files_give_a_config(make_panoptic_deeplab, name):
    arrays = make_panoptic_deeplab()
    checkpoint = "/x/" + name.replace("\n", "")
    text = _write(arrays, "cityscapes_panoptic", checkpoint, name)
    assert _parse(text).model_options.initial_checkpoint == checkpoint
