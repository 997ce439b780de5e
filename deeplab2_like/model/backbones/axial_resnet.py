# SPDX-License-Identifier: Apache-2.0
"""Residual networks with axial attention in place of 3x3 convolutions.

Axial-ResNet and Axial-DeepLab (Wang et al., ECCV 2020, arXiv:2003.07853) have
it in stages 2 to 5, MaX-DeepLab-S (Wang et al., CVPR 2021, arXiv:2012.00759)
and Axial-SWideRNet from stride 16 on.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from deeplab2_like.model.backbones.resnet import ResNet, bottleneck_stages
from deeplab2_like.model.backbones.stages import StageSpec
from deeplab2_like.model.backbones.variation import UNVARIED, Variation
from deeplab2_like.model.backbones.wide_resnet import (
    DROP_PATH_BEYOND_STRIDE,
    wide_stages,
)

_NUM_BLOCKS = (3, 4, 6, 3)
_SMALL_WIDTH = 0.5


def with_axial_attention(
    stages: Sequence[StageSpec], beyond_stride: int, expansion: int
) -> list[StageSpec]:
    """Returns the stages with axial blocks from a stride on.

    Args:
        stages: Stages of a ResNet, behind a stem of stride 2.
        beyond_stride: Blocks whose input has at least this stride in the
            classification network become axial; so the first block of a stage
            may keep its kind.
        expansion: Channels of the first convolution and of the values, in
            quarters of the block's channels: 2 or 4.
    """
    changed = []
    stride = 2
    for spec in stages:
        stride_before, stride = stride, stride * spec.stride
        if stride < beyond_stride:
            changed.append(spec)
            continue
        channels = spec.filters[-1]
        inner = channels // 4 * expansion
        axial = dataclasses.replace(
            spec, block="axial", filters=(inner, inner, channels)
        )
        if stride_before < beyond_stride:
            axial = dataclasses.replace(
                axial, first_block=spec.block, first_filters=spec.filters
            )
        changed.append(axial)
    return changed


def _axial_resnet(
    stem: str,
    output_stride: int,
    variation: Variation,
    beyond_stride: int = 2,
    **kwargs: Any,
) -> ResNet:
    stages = bottleneck_stages(_NUM_BLOCKS, variation)
    return ResNet(
        with_axial_attention(stages, beyond_stride, expansion=2),
        output_stride,
        stem=stem,
        stem_filters=variation.scale_stem(64),
        block_options=variation.block_options(drop_path_beyond_stride=16),
        **kwargs,
    )


def _small(variation: Variation) -> Variation:
    """Returns the variation with half the width, unless it sets a width."""
    if variation.width is not None:
        return variation
    return dataclasses.replace(variation, width=_SMALL_WIDTH)


def axial_resnet_l(
    output_stride: int = 32, variation: Variation = UNVARIED, **kwargs: Any
) -> ResNet:
    """Returns Axial-ResNet-L; the other arguments are those of `ResNet`."""
    return _axial_resnet("conv7", output_stride, variation, **kwargs)


def axial_resnet_s(
    output_stride: int = 32, variation: Variation = UNVARIED, **kwargs: Any
) -> ResNet:
    """Returns Axial-ResNet-S: half the width of L.

    In deeplab2 the config's width, 1 if unset, overrides the half.
    """
    return axial_resnet_l(output_stride, _small(variation), **kwargs)


def axial_deeplab_l(
    output_stride: int = 32, variation: Variation = UNVARIED, **kwargs: Any
) -> ResNet:
    """Returns the backbone of Axial-DeepLab-L: the deep stem."""
    return _axial_resnet("deep", output_stride, variation, **kwargs)


def axial_deeplab_s(
    output_stride: int = 32, variation: Variation = UNVARIED, **kwargs: Any
) -> ResNet:
    """Returns the backbone of Axial-DeepLab-S: half the width of L."""
    return axial_deeplab_l(output_stride, _small(variation), **kwargs)


def max_deeplab_s_backbone(
    output_stride: int = 32, variation: Variation = UNVARIED, **kwargs: Any
) -> ResNet:
    """Returns the backbone of MaX-DeepLab-S, without its mask transformer."""
    return _axial_resnet(
        "deep", output_stride, variation, beyond_stride=16, **kwargs
    )


def axial_swidernet(
    output_stride: int = 32, variation: Variation = UNVARIED, **kwargs: Any
) -> ResNet:
    """Returns SWideRNet with axial attention from stride 16 on."""
    return ResNet(
        axial_wide_stages(variation),
        output_stride,
        stem="conv3",
        stem_filters=variation.scale_stem(64),
        block_options=variation.block_options(DROP_PATH_BEYOND_STRIDE),
        **kwargs,
    )


def axial_wide_stages(variation: Variation) -> list[StageSpec]:
    """Returns the stages of Axial-SWideRNet, MaX-DeepLab-L's too."""
    return with_axial_attention(
        wide_stages(variation=variation), beyond_stride=16, expansion=4
    )
