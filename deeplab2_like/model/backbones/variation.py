# SPDX-License-Identifier: Apache-2.0
"""Variation of a named network of the ResNet family by a config."""

import dataclasses
from collections.abc import Sequence

from deeplab2_like.model.backbones.stages import BlockOptions


@dataclasses.dataclass(frozen=True)
class Variation:
    """Widths, numbers of blocks, and additions to the blocks.

    Attributes:
        stem_width: Factor of the channels of the stem (and of stage 1 of the
            wide networks).
        width: Factor of the channels of the stages; None: the network's own,
            which is 1 for nearly all.
        depth: Factor of the numbers of blocks of stages 2 to 5.
        keep_prob: See `BlockOptions`.
        drop_path_schedule: See `BlockOptions`.
        switchable_beyond_stride: See `BlockOptions`.
        squeeze_excite: See `BlockOptions`.
    """

    stem_width: float = 1.0
    width: float | None = None
    depth: float = 1.0
    keep_prob: float = 1.0
    drop_path_schedule: str = "constant"
    switchable_beyond_stride: int = -1
    squeeze_excite: bool = False

    def scale_stem(self, channels: int) -> int:
        """Returns the scaled channels of the stem, at least 1."""
        return max(1, round(channels * self.stem_width))

    def scale_channels(self, channels: Sequence[int]) -> list[int]:
        """Returns the scaled channels of stages, at least 1 each."""
        width = 1.0 if self.width is None else self.width
        return [max(1, round(number * width)) for number in channels]

    def scale_counts(self, counts: Sequence[int]) -> list[int]:
        """Returns the scaled numbers of blocks, truncated, at least 1 each."""
        return [max(1, int(number * self.depth)) for number in counts]

    def block_options(self, drop_path_beyond_stride: int) -> BlockOptions:
        """Returns the additions to the blocks of a network.

        Args:
            drop_path_beyond_stride: See `BlockOptions`; fixed for a network.
        """
        return BlockOptions(
            keep_prob=self.keep_prob,
            drop_path_schedule=self.drop_path_schedule,
            drop_path_beyond_stride=drop_path_beyond_stride,
            switchable_beyond_stride=self.switchable_beyond_stride,
            squeeze_excite=self.squeeze_excite,
        )


UNVARIED = Variation()
