# SPDX-License-Identifier: Apache-2.0
from deeplab2_like.model.backbones.mobilenet_v3 import MobileNetV3
from deeplab2_like.model.weight_decay import decayed_variables


def test_convolution_kernels_decay_and_nothing_else():
    backbone = MobileNetV3("small")
    backbone.build((None, None, None, 3))
    decayed = [
        v.path.removeprefix("backbone/") for v in (decayed_variables(backbone))
    ]
    assert "block0/conv/kernel" in decayed
    assert "block4/squeeze_excite/reduce/kernel" in decayed
    assert all(path.endswith("/kernel") for path in decayed)
    assert not any("depthwise_conv" in path for path in decayed)
    # stem, final, 10 expansions, 11 projections, 2 in each of 9 gates
    assert len(decayed) == 2 + 10 + 11 + 2 * 9
