# SPDX-License-Identifier: Apache-2.0
"""Names of layers, as other libraries' documentation and files have them."""

import pytest

from deeplab2_like.checkpoints import encoder_keys

_RESNET = ["stem/conv", "stem/bn", "normalize", "stage2_block1/shortcut/conv"]
_RESNET += ["stage2_block1/shortcut/bn", "stage4_block23/spatial/bn"]
_MOBILE = ["block0/conv", "block12/bn", "block1/depthwise/depthwise_conv"]
_MOBILE += ["block1/squeeze_excite/reduce", "block1/project/bn"]
_MOBILE += ["block4/expand/conv", "block4/depthwise/bn"]
_MOBILE += ["block4/squeeze_excite/expand", "block4/project/conv"]
_LITE = ["stem/conv", "top/bn", "block1a/depthwise/bn", "normalize"]
_LITE += ["block2a/expand/conv", "block2a/project/bn"]


@pytest.mark.parametrize(
    ("function", "layers", "expected"),
    [
        (
            encoder_keys.torchvision_resnet,
            _RESNET,
            "conv1 bn1 layer1.0.downsample.0 layer1.0.downsample.1 "
            "layer3.22.bn2",
        ),
        (
            encoder_keys.detectron2_resnet,
            _RESNET,
            "stem.conv1 stem.conv1.norm res2.0.shortcut res2.0.shortcut.norm "
            "res4.22.conv2.norm",
        ),
        (
            encoder_keys.keras_resnet,
            _RESNET,
            "conv1_conv conv1_bn conv2_block1_0_conv conv2_block1_0_bn "
            "conv4_block23_2_bn",
        ),
        (
            encoder_keys.torchvision_mobilenet_v3,
            _MOBILE,
            "features.0.0 features.12.1 features.1.block.0.0 "
            "features.1.block.1.fc1 features.1.block.2.1 "
            "features.4.block.0.0 features.4.block.1.1 "
            "features.4.block.2.fc2 features.4.block.3.0",
        ),
        (
            encoder_keys.keras_mobilenet_v3,
            _MOBILE,
            "conv conv_1_bn expanded_conv_depthwise "
            "expanded_conv_squeeze_excite_conv expanded_conv_project_bn "
            "expanded_conv_3_expand expanded_conv_3_depthwise_bn "
            "expanded_conv_3_squeeze_excite_conv_1 expanded_conv_3_project",
        ),
        (
            encoder_keys.lite_pytorch,
            _LITE,
            "_conv_stem _bn1 _blocks.0._bn1 _blocks.1._expand_conv "
            "_blocks.1._bn2",
        ),
    ],
)
def test_layers_have_their_published_names(function, layers, expected):
    names = function(layers)
    assert list(names.values()) == expected.split()
    known = [layer for layer in layers if layer != "normalize"]
    assert list(names) == known


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        ("conv1_w", "stem.conv1.weight"),
        ("res_conv1_bn_s", "stem.conv1.norm.weight"),
        ("res_conv1_bn_beta", "stem.conv1.norm.bias"),
        ("res2_0_branch1_w", "res2.0.shortcut.weight"),
        ("res5_2_branch2c_bn_riv", "res5.2.conv3.norm.running_var"),
        ("res4_22_branch2a_bn_running_mean", "res4.22.conv1.norm.running_mean"),
        ("res_conv1_bn_b_momentum", "res_conv1_bn_b_momentum"),
        ("fc1000_w", "fc1000_w"),
        ("layer1.0.conv1.weight", "layer1.0.conv1.weight"),
    ],
)
def test_names_of_caffe2_become_those_of_detectron2(theirs, expected):
    assert encoder_keys.from_caffe2(theirs) == expected


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        ("Conv/BatchNorm/gamma", "conv_bn/gamma"),
        ("expanded_conv/depthwise/kernel", "expanded_conv_depthwise/kernel"),
        (
            "expanded_conv_3/squeeze_excite/Conv_1/bias",
            "expanded_conv_3_squeeze_excite_conv_1/bias",
        ),
        ("conv2_block1_0_bn/beta", "conv2_block1_0_bn/beta"),
    ],
)
def test_names_of_keras_2_become_those_of_keras_3(theirs, expected):
    assert encoder_keys.normalize_keras_name(theirs) == expected
