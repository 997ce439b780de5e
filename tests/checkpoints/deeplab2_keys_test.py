# SPDX-License-Identifier: Apache-2.0
import pytest

from deeplab2_like.checkpoints.deeplab2_keys import deeplab2_key

_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("backbone/stem/conv/kernel", "encoder/_stem/_conv/kernel"),
        (
            "backbone/stem/conv3/bn/gamma",
            "encoder/_stem/_conv3_bn/_batch_norm/gamma",
        ),
        (
            "backbone/stage4_block12/spatial/conv/kernel",
            "encoder/_stage4/_block12/_conv2_bn_act/_conv/kernel",
        ),
        (
            "backbone/stage1_block2/spatial2/bn/beta",
            "encoder/_stage1/_block2/_conv2_bn/_batch_norm/beta",
        ),
        (
            "backbone/stage2_block1/shortcut/bn/moving_mean",
            "encoder/_stage2/_block1/_shortcut/_batch_norm/moving_mean",
        ),
        (
            "backbone/stage5_block1/spatial/conv/kernel",
            "encoder/_stage5/_block1/_conv2_bn_act/_conv/kernel",
        ),
        (
            "backbone/stage5_block1/spatial/conv/switch/bias",
            "encoder/_stage5/_block1/_conv2_bn_act/_conv/_switch/bias",
        ),
        (
            "backbone/stage5_block1/spatial/pre_global_context/convolution"
            "/kernel",
            "encoder/_stage5/_block1/_conv2_bn_act/_pre_global_context"
            "/convolution/kernel",
        ),
        (
            "backbone/stage3_block2/squeeze_excite/gate/kernel",
            "encoder/_stage3/_block2/_squeeze_and_excite/_se_conv/kernel",
        ),
        (
            "backbone/stage4_block2/attention/height_axis/qkv_kernel",
            "encoder/_stage4/_block2/_attention/_height_axis/qkv_kernel",
        ),
        (
            "backbone/stage4_block2/attention/width_axis/similarity_bn/gamma",
            "encoder/_stage4/_block2/_attention/_width_axis"
            "/_batch_norm_similarity/gamma",
        ),
        (
            "backbone/stage4_block2/attention/width_axis/value_rpe",
            "encoder/_stage4/_block2/_attention/_width_axis/_value_rpe"
            "/embeddings",
        ),
        (
            "backbone/resnet/stage1_block3/spatial1/conv/kernel",
            "encoder/_stage1/_block3/_conv1_bn_act/_conv/kernel",
        ),
        (
            "backbone/stacked_decoder/stage2_block1/spatial2/bn/beta",
            "encoder/_decoder_stage2/_block1/_conv2_bn/_batch_norm/beta",
        ),
        (
            "backbone/stacked_decoder/stage3_fuse/strided1/conv/kernel",
            "encoder/_decoder_stage3_resized_fuse/_strided_conv_bn1/_conv"
            "/kernel",
        ),
        ("backbone/block0/conv/kernel", "encoder/_blocks/0/_conv/kernel"),
        (
            "backbone/block10/depthwise/depthwise_conv/kernel",
            "encoder/_blocks/10/_conv2_bn_act/_depthwise_conv/depthwise_kernel",
        ),
        (
            "backbone/block4/squeeze_excite/expand/bias",
            "encoder/_blocks/4/_squeeze_excitation/_se_expand/bias",
        ),
        (
            "backbone/block4/expand/conv/kernel",
            "encoder/_blocks/4/_conv1_bn_act/_conv/kernel",
        ),
        (
            "semantic_decoder/aspp/conv1x1/conv/kernel",
            "semantic_decoder/_aspp/_conv_bn_act/_conv/kernel",
        ),
        (
            "instance_decoder/aspp/atrous3/bn/moving_variance",
            "instance_decoder/_aspp/_aspp_conv3/_conv_bn_act/_batch_norm"
            "/moving_variance",
        ),
        (
            "semantic_decoder/fusion2/pointwise/conv/kernel",
            "semantic_decoder/_fusion_conv2/_conv1_bn_act/_pointwise/_conv"
            "/kernel",
        ),
        (
            "semantic_decoder/fusion1/conv/kernel",
            "semantic_decoder/_fusion_conv1/_conv1_bn_act/_conv/kernel",
        ),
        (
            "center_head/conv/depthwise/bn/gamma",
            "instance_center_head_without_last_layer/_conv1_bn_act/_depthwise"
            "/_batch_norm/gamma",
        ),
        (
            "semantic_head/conv/conv/kernel",
            "semantic_head_without_last_layer/_conv1_bn_act/_conv/kernel",
        ),
        ("semantic_head/last/kernel", "semantic_last_layer/kernel"),
        (
            "offset_head/last/bias",
            "instance_regression_head_last_layer/bias",
        ),
    ],
)
def test_paths_become_the_keys_of_deeplab2(ours, theirs):
    assert deeplab2_key(f"panoptic_deeplab/{ours}") == theirs + _SUFFIX


@pytest.mark.parametrize(
    "path",
    [
        "panoptic_deeplab/neck/conv/kernel",
        "panoptic_deeplab/backbone/stage2_block1/unknown/kernel",
        "panoptic_deeplab/semantic_decoder/aspp/extra/conv/kernel",
        "kernel",
    ],
)
def test_variables_that_deeplab2_lacks_are_refused(path):
    with pytest.raises(KeyError):
        deeplab2_key(path)
