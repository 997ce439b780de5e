# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like.model.backbones.mobilenet_v3 import (
    InvertedBottleneck,
    MobileNetV3,
    plan_strides,
    round_to_divisor,
)
from deeplab2_like.testing import harness


@pytest.mark.parametrize(
    "options",
    [
        {"expand": False, "filters": 8, "expanded_filters": 8},
        {"activation": "hard_swish", "squeeze_excite": True},
        {"depthwise": {"kernel_size": 3, "dilation_rate": 2}},
    ],
)
def test_the_block_passes_the_harness(options, tmp_path):
    arguments = {
        "filters": 6,
        "expanded_filters": 16,
        "depthwise": {"kernel_size": 5, "strides": 2},
    } | options
    harness.check_layer(
        lambda: InvertedBottleneck(**arguments, name="block"), tmp_path
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "output_stride"), [("small", 16), ("large", 8)]
)
def test_the_nets_pass_the_harness(variant, output_stride, tmp_path):
    harness.check_model(
        lambda: MobileNetV3(variant, output_stride),
        tmp_path,
        takes_bytes=False,
    )


@pytest.mark.parametrize("variant", ["small", "large"])
@pytest.mark.parametrize(
    ("output_stride", "size"),
    [(8, (65, 97)), (16, (50, 64)), (32, (33, 60))],
)
def test_endpoints_have_their_strides_at_any_size(variant, output_stride, size):
    backbone = MobileNetV3(variant, output_stride)
    endpoints = backbone(np.zeros((1, *size, 3), np.float32))
    assert list(endpoints) == ["res1", "res2", "res3", "res4", "res5"]
    for number, (name, feature) in enumerate(endpoints.items(), 1):
        stride = min(2**number, output_stride)
        expected = tuple((side - 1) // stride + 1 for side in size)
        assert feature.shape[1:3] == expected
        assert feature.shape[3] == backbone.output_channels[name]


@pytest.mark.parametrize(
    ("variant", "parameters", "channels"),
    [
        ("small", 939120, [16, 16, 88, 144, 576]),
        ("large", 2996352, [16, 72, 120, 672, 960]),
    ],
)
def test_the_nets_have_their_published_sizes(variant, parameters, channels):
    backbone = MobileNetV3(variant)
    backbone.build((None, None, None, 3))
    assert backbone.count_params() == parameters
    assert list(backbone.output_channels.values()) == channels


def test_the_block_beyond_the_output_stride_keeps_the_rate():
    assert plan_strides([2, 2, 1, 2, 1], 8) == [
        (2, 1),
        (2, 1),
        (1, 1),
        (1, 1),
        (1, 2),
    ]


def test_a_stride_that_became_a_rate_adds_no_residual():
    backbone = MobileNetV3("large", 8)
    backbone.build((None, None, None, 3))
    added = [block._adds_input for block in backbone.blocks]
    expected = [True, False, True, False, True, True, False, True, True, True]
    assert added == [*expected, False, True, False, True, True]


def test_channels_are_rounded_to_eights():
    assert [round_to_divisor(v) for v in (3, 12, 60, 30, 184, 36)] == [
        8,
        16,
        64,
        32,
        184,
        40,
    ]


def test_wrong_values_are_refused():
    with pytest.raises(ValueError, match="variant is 'tiny'"):
        MobileNetV3("tiny")
    with pytest.raises(ValueError, match="output_stride is 4"):
        MobileNetV3("small", 4)
