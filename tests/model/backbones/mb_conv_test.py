# SPDX-License-Identifier: Apache-2.0
import pytest

from deeplab2_like.model.backbones.mb_conv import MBConv
from deeplab2_like.testing import harness


@pytest.mark.parametrize(
    "options",
    [
        {"expansion": 1, "filters": 8},
        {"depthwise": {"kernel_size": 5, "strides": 2}},
        {"filters": 8, "keep_prob": 0.5},
        {
            "depthwise": {"kernel_size": 3, "dilation_rate": 2},
            "squeeze_excite": False,
        },
        pytest.param(
            {"activation": "leaky_relu", "squeeze_excite": False},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_block_passes_the_harness(options, tmp_path):
    arguments = {
        "filters": 6,
        "expansion": 3,
        "depthwise": {"kernel_size": 3},
    } | options
    harness.check_layer(lambda: MBConv(**arguments, name="block"), tmp_path)
