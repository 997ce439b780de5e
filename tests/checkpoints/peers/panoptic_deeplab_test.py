# SPDX-License-Identifier: Apache-2.0
"""Keys and sizes of bowenc0221's Panoptic-DeepLab."""

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.checkpoints.foreign.layouts import LayerKind
from deeplab2_like.checkpoints.peers import panoptic_deeplab
from deeplab2_like.checkpoints.peers import state as state_lib


def _measure(arrays):
    return panoptic_deeplab.measure(state_lib.State("x.pth", arrays, "it"))


def test_sizes_are_those_of_the_arrays(make_panoptic_deeplab):
    assert _measure(make_panoptic_deeplab()) == panoptic_deeplab.Sizes(
        "resnet50",
        19,
        panoptic_deeplab.Branch(
            (("res4", 128), ("res3", 64), ("res2", 32)), 256, 256, (256,)
        ),
        panoptic_deeplab.Branch(
            (("res4", 64), ("res3", 32), ("res2", 16)), 256, 128, (32, 32)
        ),
    )
    other = _measure(
        make_panoptic_deeplab(
            133, depth=101, projected=(64, 32), has_instance=False
        )
    )
    assert (other.backbone, other.num_classes) == ("resnet101", 133)
    assert other.semantic.low_level == (("res3", 64), ("res2", 32))
    assert other.instance is None


def test_models_with_the_feature_of_stride_16_have_stride_32(
    make_panoptic_deeplab,
):
    assert _measure(make_panoptic_deeplab()).output_stride == 32
    arrays = make_panoptic_deeplab(projected=(64, 32))
    assert _measure(arrays).output_stride == 16


def test_missing_and_other_arrays_are_one_sentence(make_panoptic_deeplab):
    arrays = make_panoptic_deeplab()
    key = "decoder.instance_decoder.fuse.0.0.1.weight"
    del arrays[key]
    with pytest.raises(errors.CheckpointError, match=rf"has no {key}"):
        _measure(arrays)
    arrays = make_panoptic_deeplab()
    key = "decoder.semantic_decoder.project.1.0.weight"
    arrays[key] = np.zeros((64, 320, 1, 1), np.float32)
    with pytest.raises(errors.CheckpointError, match="feature of 320 channels"):
        _measure(arrays)


@pytest.mark.parametrize(
    ("layer", "key", "kind"),
    [
        (
            "semantic_decoder/aspp/atrous2/bn",
            "decoder.semantic_decoder.aspp.convs.2.1",
            LayerKind.NORMALIZATION,
        ),
        (
            "instance_decoder/low_level3/conv",
            "decoder.instance_decoder.project.2.0",
            LayerKind.CONVOLUTION,
        ),
        (
            "instance_decoder/fusion1/depthwise/depthwise_conv",
            "decoder.instance_decoder.fuse.0.0.0.0",
            LayerKind.DEPTHWISE_CONVOLUTION,
        ),
        (
            "center_head/conv/pointwise/bn",
            "decoder.instance_head.classifier.center.0.0.2",
            LayerKind.NORMALIZATION,
        ),
        (
            "offset_head/last",
            "decoder.instance_head.classifier.offset.1",
            LayerKind.CONVOLUTION,
        ),
    ],
)
def test_layers_are_named_as_in_the_file(layer, key, kind):
    origin = panoptic_deeplab.find_origin(layer, range(19))
    assert (origin.key, origin.kind, origin.arrange) == (key, kind, None)


def test_a_class_without_an_output_never_wins():
    origin = panoptic_deeplab.find_origin("semantic_head/last", [None, 1, 0])
    bias = origin.arrange(np.array([3.0, 4.0]))
    np.testing.assert_array_equal(bias, [panoptic_deeplab.NEVER, 4.0, 3.0])
    weight = origin.arrange(np.array([[1.0], [2.0]]))
    np.testing.assert_array_equal(weight, [[0.0], [2.0], [1.0]])


def test_the_pooled_branch_has_no_batch_norm():
    layer = "semantic_decoder/aspp/pool"
    assert panoptic_deeplab.find_origin(f"{layer}/bn", range(19)) is None
    assert panoptic_deeplab.find_origin(f"{layer}/conv", range(19))
