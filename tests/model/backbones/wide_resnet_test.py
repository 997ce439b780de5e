# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like.model.backbones.variation import Variation
from deeplab2_like.model.backbones.wide_resnet import swidernet, wide_stages
from deeplab2_like.testing import harness

_TINY = {"stem_width": 1 / 16, "width": 1 / 64, "depth": 0.34}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variation", "recompute"),
    [
        (Variation(**_TINY, switchable_beyond_stride=32), False),
        (Variation(**_TINY, keep_prob=0.8, squeeze_excite=True), True),
    ],
)
def test_small_ones_pass_the_harness(variation, recompute, tmp_path):
    harness.check_model(
        lambda: swidernet(16, variation, recompute=recompute),
        tmp_path,
        takes_bytes=False,
    )


def test_stages_are_basic_and_the_last_is_a_bottleneck():
    stages = wide_stages()
    assert [s.block for s in stages] == ["basic"] * 4 + ["bottleneck"]
    assert [s.num_blocks for s in stages] == [3, 3, 6, 3, 3]
    assert [s.stride for s in stages] == [1, 2, 2, 2, 2]
    assert [tuple(s.filters) for s in stages] == [
        (128, 128),
        (256, 256),
        (512, 512),
        (1024, 1024),
        (512, 1024, 2048),
    ]


def test_the_factors_are_those_of_swidernet():
    stages = wide_stages(
        variation=Variation(stem_width=0.5, width=2.0, depth=4.5)
    )
    # Stage 1 has the stem's width, and always three blocks.
    assert [s.num_blocks for s in stages] == [3, 13, 27, 13, 13]
    assert stages[0].filters == (64, 64)
    assert stages[1].filters == (512, 512)
    assert stages[-1].filters == (1024, 2048, 4096)


def test_switches_are_where_they_are_asked_for():
    backbone = swidernet(16, Variation(**_TINY, switchable_beyond_stride=32))
    backbone.build((None, None, None, 3))
    switched = {
        v.path.split("/")[1] for v in backbone.variables if "switch" in v.path
    }
    assert switched == {"stage5_block1"}


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_endpoints_have_their_strides_at_any_size(output_stride):
    backbone = swidernet(output_stride, Variation(**_TINY))
    for size in ((33, 65), (40, 50)):
        endpoints = backbone(np.zeros((1, *size, 3), np.float32))
        for number in range(1, 6):
            stride = min(2**number, output_stride)
            expected = tuple((side - 1) // stride + 1 for side in size)
            assert endpoints[f"stage{number}"].shape[1:3] == expected
            channels = backbone.output_channels[f"res{number}"]
            assert endpoints[f"res{number}"].shape[3] == channels


def test_drop_path_grows_with_the_stride():
    backbone = swidernet(
        16, Variation(**_TINY, keep_prob=0.8, drop_path_schedule="linear")
    )
    probs = [
        block.drop_path.keep_prob
        for blocks in backbone.stages
        for block in blocks
    ]
    np.testing.assert_allclose(
        probs, [1, 1, 1, 1, 0.95, 0.9, 0.9, 0.85], rtol=1e-6
    )
