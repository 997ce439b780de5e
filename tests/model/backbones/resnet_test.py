# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like.model.backbones import resnet
from deeplab2_like.model.backbones.residual_blocks import (
    AxialBlock,
    BasicBlock,
    BottleneckBlock,
    DeepStem,
)
from deeplab2_like.model.backbones.resnet import ResNet
from deeplab2_like.model.backbones.stages import StageSpec
from deeplab2_like.model.backbones.variation import Variation
from deeplab2_like.testing import harness

_SMALL = [
    StageSpec(2, "bottleneck", 2, (4, 4, 8)),
    StageSpec(3, "basic", 1, (8, 8)),
    StageSpec(4, "bottleneck", 1, (4, 4, 8)),
    StageSpec(5, "basic", 2, (8, 8)),
]


def _slow(make):
    """Marks a block whose options other blocks have, too."""
    return pytest.param(make, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "make",
    [
        lambda: BottleneckBlock((4, 4, 8), name="block"),
        _slow(lambda: BottleneckBlock((4, 4, 16), stride=2, name="block")),
        _slow(lambda: BasicBlock((4, 8), stride=2, name="block")),
        lambda: BasicBlock(
            (4, 6), dilation_rate=2, next_dilation_rate=4, name="block"
        ),
        _slow(
            lambda: BottleneckBlock(
                (4, 4, 8), switchable=True, keep_prob=0.5, name="block"
            )
        ),
        lambda: BasicBlock(
            (4, 6), stride=2, switchable=True, squeeze_excite=True, name="block"
        ),
        _slow(lambda: AxialBlock((16, 16, 8), name="block")),
        lambda: AxialBlock(
            (8, 16, 12),
            stride=2,
            keep_prob=0.5,
            squeeze_excite=True,
            name="block",
        ),
        lambda: DeepStem(4, name="stem"),
    ],
)
def test_parts_pass_the_harness(make, tmp_path):
    harness.check_layer(make, tmp_path)


@pytest.mark.parametrize(
    ("stem", "output_stride"),
    [
        pytest.param("deep", 16, marks=pytest.mark.slow),
        pytest.param("conv7", 8, marks=pytest.mark.slow),
        pytest.param("conv3", 32, marks=pytest.mark.slow),
    ],
)
def test_resnets_pass_the_harness(stem, output_stride, tmp_path):
    harness.check_model(
        lambda: ResNet(_SMALL, output_stride, stem=stem, stem_filters=4),
        tmp_path,
        takes_bytes=False,
    )


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_endpoints_have_their_strides_at_any_size(output_stride):
    backbone = ResNet(_SMALL, output_stride, stem_filters=4)
    for size in ((65, 97), (64, 100), (30, 31)):
        endpoints = backbone(np.zeros((1, *size, 3), np.float32))
        for number in range(1, 6):
            stride = min(2**number, output_stride)
            expected = tuple((side - 1) // stride + 1 for side in size)
            for prefix in ("stage", "res"):
                name = f"{prefix}{number}"
                feature = endpoints[name]
                assert feature.shape[1:3] == expected
                assert feature.shape[3] == backbone.output_channels[name]


def test_res_is_the_activated_stage():
    backbone = ResNet(_SMALL, stem_filters=4)
    backbone.build((None, None, None, 3))
    for variable in backbone.trainable_variables:
        if variable.path.endswith("/gamma"):
            variable.assign(np.ones(variable.shape))
    endpoints = backbone(
        np.random.default_rng(0).normal(size=(1, 33, 33, 3)).astype("float32")
    )
    for number in range(1, 6):
        stage = endpoints[f"stage{number}"].numpy()
        np.testing.assert_array_equal(
            endpoints[f"res{number}"], np.maximum(stage, 0.0)
        )
        assert stage.min() < 0.0


def test_residual_branches_start_as_the_identity():
    block = BottleneckBlock((4, 4, 8), name="block")
    x = np.random.default_rng(0).normal(size=(1, 5, 5, 8)).astype("float32")
    np.testing.assert_array_equal(block(x), x)


@pytest.mark.parametrize(
    ("build", "parameters", "variables"),
    [
        (resnet.resnet50, 23_561_152, 265),
        (resnet.resnet50_beta, 23_685_312, 275),
        pytest.param(resnet.resnet101, 42_605_504, 520, marks=pytest.mark.slow),
        pytest.param(
            resnet.resnet101_beta, 42_729_664, 530, marks=pytest.mark.slow
        ),
    ],
)
def test_the_named_nets_have_their_published_sizes(
    build, parameters, variables
):
    backbone = build()
    backbone.build((None, None, None, 3))
    assert backbone.count_params() == parameters
    assert len(backbone.variables) == variables


def test_a_stage_with_number_1_replaces_the_stem_as_stage1():
    stages = [StageSpec(1, "basic", 1, (4, 6), stride=1), *_SMALL]
    backbone = ResNet(stages, stem="conv3", stem_filters=4)
    endpoints = backbone(np.zeros((1, 33, 33, 3), np.float32))
    assert endpoints["stage1"].shape == (1, 17, 17, 6)
    assert endpoints["stage2"].shape == (1, 9, 9, 8)


def test_widths_and_depths_can_be_varied():
    varied = Variation(
        stem_width=0.5,
        width=0.25,
        depth=2.0,
        keep_prob=0.5,
        squeeze_excite=True,
    )
    backbone = resnet.resnet50(16, varied)
    channels = backbone.output_channels
    assert [channels[f"res{n}"] for n in range(1, 6)] == [32, 64, 128, 256, 512]
    assert [len(blocks) for blocks in backbone.stages] == [6, 8, 12, 6]
    probs = [
        [b.drop_path.keep_prob for b in blocks] for blocks in backbone.stages
    ]
    assert probs == [[1.0] * 6, [1.0] * 8, [1.0] + [0.5] * 11, [0.5] * 6]
    assert all(b.squeeze_excite for blocks in backbone.stages for b in blocks)


@pytest.mark.parametrize("keep_prob", [0.25, 1.0])
def test_a_dropped_branch_leaves_the_shortcut(keep_prob):
    block = BasicBlock((4, 3), keep_prob=keep_prob, name="block")
    x = np.random.default_rng(0).normal(size=(64, 3, 3, 3)).astype("float32")
    block.build(x.shape)
    block.branch[-1].bn.gamma.assign(np.ones(3))
    is_shortcut = np.all(block(x, training=True).numpy() == x, axis=(1, 2, 3))
    assert np.mean(is_shortcut) == pytest.approx(1.0 - keep_prob, abs=0.15)
    is_shortcut = np.all(block(x, training=False).numpy() == x, axis=(1, 2, 3))
    assert not np.any(is_shortcut)


def test_wrong_values_are_refused():
    with pytest.raises(ValueError, match="8, 16 and 32 are allowed"):
        ResNet(_SMALL, 4)
    with pytest.raises(ValueError, match="stem is 'conv5'"):
        ResNet(_SMALL, stem="conv5")
    with pytest.raises(ValueError, match="branch of a BasicBlock has 2"):
        BasicBlock((4, 4, 8))
    with pytest.raises(ValueError, match="has no 3x3 convolution"):
        AxialBlock((16, 16, 8), switchable=True)
