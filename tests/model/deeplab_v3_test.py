# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like.model.backbones.resnet import ResNet, StageSpec
from deeplab2_like.model.deeplab_v3 import DeepLabV3, DeepLabV3Plus
from deeplab2_like.testing import harness

_ASPP = {"filters": 6, "atrous_rates": [1, 2, 3], "pool_size": [3, 4]}


def _make_backbone():
    stages = [StageSpec(n, "basic", 1, (4, 6)) for n in (2, 3, 4, 5)]
    return ResNet(stages, 16, stem="conv3", stem_filters=4)


def _make_v3(low_level=()):
    return DeepLabV3(
        _make_backbone(),
        5,
        decoder={"aspp": _ASPP, "low_level": low_level},
        head={
            "head_channels": 6,
            "kernel_size": 3,
            "conv_type": "standard_conv",
        },
    )


def _make_v3_plus(low_level=(("res2", 3),)):
    return DeepLabV3Plus(
        _make_backbone(),
        5,
        decoder={
            "aspp": _ASPP,
            "low_level": low_level,
            "fusion_channels": 7,
            "fusion_kernel_size": 3,
        },
        head={"head_channels": 6, "kernel_size": 3},
    )


@pytest.mark.parametrize(
    "make", [_make_v3, pytest.param(_make_v3_plus, marks=pytest.mark.slow)]
)
def test_the_models_pass_the_harness(make, tmp_path):
    harness.check_model(make, tmp_path)


def test_logits_have_the_resolution_of_their_finest_features():
    image = np.zeros((1, 33, 65, 3), np.uint8)
    assert _make_v3()(image)["semantic_logits"].shape == (1, 3, 5, 5)
    assert _make_v3_plus()(image)["semantic_logits"].shape == (1, 9, 17, 5)


def test_the_number_of_finer_levels_is_checked():
    with pytest.raises(ValueError, match="DeepLabV3 takes 0"):
        _make_v3([("res2", 3)])
    with pytest.raises(ValueError, match="DeepLabV3Plus takes 1"):
        _make_v3_plus([])


def test_variables_are_named_after_the_model():
    model = _make_v3_plus()
    model.build((None, None, None, 3))
    assert model.variables[0].path.startswith("deeplab_v3_plus/backbone/stem")
