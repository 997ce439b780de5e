# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like.model.backbones import axial_resnet
from deeplab2_like.model.backbones.axial_resnet import with_axial_attention
from deeplab2_like.model.backbones.residual_blocks import AxialBlock
from deeplab2_like.model.backbones.resnet import bottleneck_stages
from deeplab2_like.model.backbones.stages import StageSpec
from deeplab2_like.model.backbones.variation import Variation
from deeplab2_like.testing import harness

_TINY = {"stem_width": 1 / 16, "width": 1 / 32, "depth": 0.34}


@pytest.mark.parametrize(
    ("make", "variation", "recompute"),
    [
        pytest.param(
            axial_resnet.axial_swidernet,
            Variation(**_TINY),
            True,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            axial_resnet.axial_deeplab_l,
            Variation(stem_width=1 / 16, width=1 / 8, depth=0.34),
            False,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            axial_resnet.max_deeplab_s_backbone,
            Variation(**_TINY, keep_prob=0.8, squeeze_excite=True),
            True,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_small_ones_pass_the_harness(make, variation, recompute, tmp_path):
    harness.check_model(
        lambda: make(16, variation, recompute=recompute),
        tmp_path,
        takes_bytes=False,
    )


def test_blocks_are_axial_from_a_stride_of_their_input_on():
    stages = bottleneck_stages((3, 4, 6, 3))
    changed = with_axial_attention(stages, 16, 2)
    assert changed[:2] == stages[:2]
    assert changed[2] == StageSpec(
        4,
        "axial",
        6,
        (512, 512, 1024),
        first_block="bottleneck",
        first_filters=(256, 256, 1024),
    )
    assert changed[3] == StageSpec(5, "axial", 3, (1024, 1024, 2048))


def test_fully_axial_nets_are_axial_behind_the_stem():
    for spec in with_axial_attention(bottleneck_stages((1, 1, 1, 1)), 2, 4):
        assert spec.block == "axial"
        assert spec.first_block is None
        assert set(spec.filters) == {spec.filters[-1]}


def _kinds(backbone):
    return [
        [isinstance(block, AxialBlock) for block in blocks]
        for blocks in backbone.stages
    ]


def test_the_named_nets_are_axial_where_they_should_be():
    third = Variation(depth=0.67)
    late = [[False] * 2, [False] * 2, [False] + [True] * 3, [True] * 2]
    small = axial_resnet.max_deeplab_s_backbone(16, third)
    assert _kinds(small) == late
    whole = [[True] * n for n in (2, 2, 4, 2)]
    for make in (axial_resnet.axial_resnet_l, axial_resnet.axial_deeplab_s):
        assert _kinds(make(16, third)) == whole
    wide = [[False] * 3, [False] * 2, [False] * 4, [False, True], [True] * 2]
    assert _kinds(axial_resnet.axial_swidernet(16, third)) == wide


def test_the_small_nets_have_half_the_width_unless_a_width_is_said():
    for make, stem in (
        (axial_resnet.axial_resnet_s, 64),
        (axial_resnet.axial_deeplab_s, 128),
    ):
        channels = make(16).output_channels
        assert channels["res5"] == 1024
        assert channels["res1"] == stem
        channels = make(16, Variation(width=1.0)).output_channels
        assert channels["res5"] == 2048


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_endpoints_have_their_strides_at_any_size(output_stride):
    backbone = axial_resnet.axial_resnet_l(
        output_stride, Variation(stem_width=1 / 16, width=1 / 8, depth=0.34)
    )
    for size in ((33, 65), (40, 50)):
        endpoints = backbone(np.zeros((1, *size, 3), np.float32))
        for number in range(1, 6):
            stride = min(2**number, output_stride)
            expected = tuple((side - 1) // stride + 1 for side in size)
            assert endpoints[f"stage{number}"].shape[1:3] == expected
