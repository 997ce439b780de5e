# SPDX-License-Identifier: Apache-2.0
"""Wide-ResNet-41 and SWideRNet.

Chen et al., arXiv:2005.10266 (Wide-ResNet-41) and arXiv:2011.11675
(SWideRNet, which scales it). As in deeplab2 both are one network, the stride
is in the first block of a stage, and there is no max pooling.
"""

from collections.abc import Sequence
from typing import Any

from deeplab2_like.model.backbones.resnet import ResNet
from deeplab2_like.model.backbones.stages import StageSpec
from deeplab2_like.model.backbones.variation import UNVARIED, Variation

NUM_BLOCKS = (3, 6, 3, 3)
DROP_PATH_BEYOND_STRIDE = 4
_STAGE1_BLOCKS = 3


def wide_stages(
    num_blocks: Sequence[int] = NUM_BLOCKS, variation: Variation = UNVARIED
) -> list[StageSpec]:
    """Returns stages 1 to 5: basic blocks, and bottlenecks in the last.

    Stage 1 belongs to the stem: it has always three blocks, and its width is
    the stem's.

    Args:
        num_blocks: Numbers of blocks of stages 2 to 5.
        variation: Factors of widths and numbers of blocks.
    """
    wide = 4 * variation.scale_stem(32)
    stages = [StageSpec(1, "basic", _STAGE1_BLOCKS, (wide, wide), stride=1)]
    counts = variation.scale_counts(num_blocks)
    widths = variation.scale_channels((64, 128, 256, 512))
    for number, count, channels in zip((2, 3, 4), counts, widths, strict=False):
        filters = (4 * channels, 4 * channels)
        stages.append(StageSpec(number, "basic", count, filters))
    last = (widths[-1], 2 * widths[-1], 4 * widths[-1])
    stages.append(StageSpec(5, "bottleneck", counts[-1], last))
    return stages


def swidernet(
    output_stride: int = 32, variation: Variation = UNVARIED, **kwargs: Any
) -> ResNet:
    """Returns SWideRNet; the other arguments are those of `ResNet`."""
    return ResNet(
        wide_stages(variation=variation),
        output_stride,
        stem="conv3",
        stem_filters=variation.scale_stem(64),
        block_options=variation.block_options(DROP_PATH_BEYOND_STRIDE),
        **kwargs,
    )


def wide_resnet41(
    output_stride: int = 32, variation: Variation = UNVARIED, **kwargs: Any
) -> ResNet:
    """Returns Wide-ResNet-41, which is SWideRNet with all factors 1."""
    return swidernet(output_stride, variation, **kwargs)
