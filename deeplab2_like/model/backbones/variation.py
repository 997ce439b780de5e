# SPDX-License-Identifier: Apache-2.0
"""What a config may vary of a named network of the ResNet family."""

import dataclasses
from collections.abc import Sequence

from deeplab2_like.model.backbones.stages import BlockOptions


@dataclasses.dataclass(frozen=True)
class Variation:
    """Widths, numbers of blocks, and what is added to the blocks.

    Attributes:
        stem_width: factor of the channels of the stem (and of stage 1 of the
            wide nets).
        width: factor of the channels of the stages; None: the network's own,
            which is 1 for nearly all.
        depth: factor of the numbers of blocks of stages 2 to 5.
        keep_prob, drop_path_schedule, switchable_beyond_stride,
        squeeze_excite: as `BlockOptions`.
    """

    stem_width: float = 1.0
    width: float | None = None
    depth: float = 1.0
    keep_prob: float = 1.0
    drop_path_schedule: str = "constant"
    switchable_beyond_stride: int = -1
    squeeze_excite: bool = False

    def scale_stem(self, channels: int) -> int:
        """Returns channels of the stem, at least 1."""
        return max(1, round(channels * self.stem_width))

    def scale_channels(self, channels: Sequence[int]) -> list[int]:
        """Returns channels of stages, at least 1."""
        width = 1.0 if self.width is None else self.width
        return [max(1, round(number * width)) for number in channels]

    def scale_counts(self, counts: Sequence[int]) -> list[int]:
        """Returns numbers of blocks, truncated, at least 1."""
        return [max(1, int(number * self.depth)) for number in counts]

    def block_options(self, drop_path_beyond_stride: int) -> BlockOptions:
        """Returns what is added to the blocks of a network.

        Args:
            drop_path_beyond_stride: a fact of the network.
        """
        return BlockOptions(
            keep_prob=self.keep_prob,
            drop_path_schedule=self.drop_path_schedule,
            drop_path_beyond_stride=drop_path_beyond_stride,
            switchable_beyond_stride=self.switchable_beyond_stride,
            squeeze_excite=self.squeeze_excite,
        )


UNVARIED = Variation()
