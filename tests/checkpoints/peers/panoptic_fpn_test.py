# SPDX-License-Identifier: Apache-2.0
"""Keys, layouts and sizes of detectron2's Panoptic FPN."""

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.checkpoints.foreign.layouts import LayerKind
from deeplab2_like.checkpoints.peers import panoptic_fpn
from deeplab2_like.checkpoints.peers import state as state_lib


def _measure(arrays):
    return panoptic_fpn.measure(state_lib.State("x.pkl", arrays, "it"))


def _find(layer, things=range(80), stuff=range(53)):
    return panoptic_fpn.find_origin(layer, things, stuff)


def test_sizes_are_those_of_the_arrays(make_panoptic_fpn):
    expected = panoptic_fpn.Sizes("resnet50", 80, 54, 256, 128, 256, 1024, 4, 3)
    assert _measure(make_panoptic_fpn()) == expected
    other = _measure(make_panoptic_fpn(depth=101, things=3, stuff=2))
    assert (other.backbone, other.num_things, other.num_channels) == (
        "resnet101",
        3,
        3,
    )


@pytest.mark.parametrize(
    ("key", "shape", "expected"),
    [
        (
            "roi_heads.box_predictor.bbox_pred.weight",
            (4, 1024),
            "boxes that do not depend on the class",
        ),
        ("roi_heads.box_head.fc1.weight", (1024, 256), "256 inputs"),
        ("sem_seg_head.p2.0.weight", None, "has no sem_seg_head.p2.0.weight"),
    ],
)
def test_other_models_are_one_sentence(make_panoptic_fpn, key, shape, expected):
    arrays = make_panoptic_fpn()
    arrays[key] = np.zeros(shape or (), np.float32)
    if shape is None:
        del arrays[key]
    with pytest.raises(errors.CheckpointError, match=expected):
        _measure(arrays)


@pytest.mark.parametrize(
    ("layer", "key", "kind"),
    [
        (
            "pyramid/lateral_p4",
            "backbone.fpn_lateral4",
            LayerKind.CONVOLUTION,
        ),
        (
            "semantic_branch/p5_2_norm",
            "sem_seg_head.p5.4.norm",
            LayerKind.NORMALIZATION,
        ),
        (
            "instance_branch/proposals/objectness",
            "proposal_generator.rpn_head.objectness_logits",
            LayerKind.CONVOLUTION,
        ),
        (
            "instance_branch/boxes/dense_1",
            "roi_heads.box_head.fc2",
            LayerKind.LINEAR,
        ),
        (
            "instance_branch/masks/conv_0",
            "roi_heads.mask_head.mask_fcn1",
            LayerKind.CONVOLUTION,
        ),
        (
            "instance_branch/masks/upsample",
            "roi_heads.mask_head.deconv",
            LayerKind.TRANSPOSED_CONVOLUTION,
        ),
    ],
)
def test_layers_are_named_as_in_the_file(layer, key, kind):
    origin = _find(layer)
    assert (origin.key, origin.kind, origin.arrange) == (key, kind, None)
    assert _find(f"{layer}/other") is None


def test_features_are_taken_by_row_column_channel():
    weight = np.arange(2 * 3 * 49).reshape(2, 3 * 49)
    spread = _find("instance_branch/boxes/dense_0").spread(weight)
    for channel, row, column in ((0, 0, 0), (2, 3, 5), (1, 6, 6)):
        theirs = channel * 49 + row * 7 + column
        ours = (row * 7 + column) * 3 + channel
        np.testing.assert_array_equal(spread[:, ours], weight[:, theirs])


def test_codes_are_vertical_first():
    codes = np.arange(12.0)
    order = [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10]
    origin = _find("instance_branch/proposals/codes")
    np.testing.assert_array_equal(origin.arrange(codes), order)
    origin = _find("instance_branch/boxes/codes", [2, 0, 1])
    expected = [9, 8, 11, 10, 1, 0, 3, 2, 5, 4, 7, 6]
    np.testing.assert_array_equal(origin.arrange(codes), expected)


def test_classes_are_ordered_with_background_last_and_things_first():
    things, stuff = [2, 0, 1], [1, 0]
    for layer, expected in (
        ("instance_branch/boxes/classes", [2, 0, 1, 3]),
        ("instance_branch/masks/last", [2, 0, 1]),
        ("semantic_branch/last", [0, 2, 1]),
    ):
        arrange = _find(layer, things, stuff).arrange
        values = np.arange(float(len(expected)))
        np.testing.assert_array_equal(arrange(values), expected)
