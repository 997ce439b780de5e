# SPDX-License-Identifier: Apache-2.0
"""Stages of residual networks as data, and the plan of their blocks.

A stage is specified as in the classification network. `plan_stage` derives the
plan of its blocks for an output stride and options.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from deeplab2_like.model.layers.drop_path import scheduled_keep_prob


@dataclasses.dataclass(frozen=True)
class StageSpec:
    """One stage.

    Attributes:
        number: 1 to 5, the N of the endpoints stageN and resN.
        block: Key of `residual_blocks.BLOCKS`.
        num_blocks: Number of blocks, the first included.
        filters: Output channels of each layer of a block's branch.
        stride: Stride of the first block in the classification network.
        first_block: Kind of the first block where it differs from `block`.
        first_filters: Filters of the first block; needed with `first_block`.
    """

    number: int
    block: str
    num_blocks: int
    filters: Sequence[int]
    stride: int = 2
    first_block: str | None = None
    first_filters: Sequence[int] | None = None

    @classmethod
    def of(cls, value: "StageSpec | Mapping[str, Any]") -> "StageSpec":
        """Returns `value`, or the specification with these fields."""
        return value if isinstance(value, StageSpec) else cls(**value)

    def to_config(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(self).items()
        }


@dataclasses.dataclass(frozen=True)
class BlockOptions:
    """Additions to the blocks of any network of this family.

    Strides are those of the classification network.

    Attributes:
        keep_prob: Probability that a branch is kept in training, at the end
            of the network; 1: drop path does not exist.
        drop_path_schedule: Key of `drop_path.SCHEDULES`.
        drop_path_beyond_stride: Blocks whose input has at least this stride
            have drop path.
        switchable_beyond_stride: Stages whose output has at least this stride
            have switchable atrous convolutions, where they have 3x3
            convolutions; -1: none.
        squeeze_excite: Whether branches end with channel gates.
    """

    keep_prob: float = 1.0
    drop_path_schedule: str = "constant"
    drop_path_beyond_stride: int = 16
    switchable_beyond_stride: int = -1
    squeeze_excite: bool = False

    @classmethod
    def of(
        cls, value: "BlockOptions | Mapping[str, Any] | None"
    ) -> "BlockOptions":
        """Returns `value`, or the options with these fields."""
        if isinstance(value, BlockOptions):
            return value
        return cls(**(value or {}))


@dataclasses.dataclass(frozen=True)
class BlockPlan:
    """One block: its kind and the arguments of `ResidualBlock`."""

    kind: str
    filters: tuple[int, ...]
    stride: int
    dilation_rate: int
    next_dilation_rate: int
    keep_prob: float
    switchable: bool
    squeeze_excite: bool


def plan_stage(
    spec: StageSpec,
    stride_before: int,
    output_stride: int,
    options: BlockOptions = BlockOptions(),
) -> list[BlockPlan]:
    """Returns the plans of the blocks of a stage.

    A stage whose stride would go beyond `output_stride` keeps the resolution.
    Its first block keeps the rate from before, the later ones dilate by the
    stage's stride more.

    Args:
        spec: Specification of the stage.
        stride_before: Stride of its input in the classification network.
        output_stride: Image size / size of the last feature map.
        options: Additions to the blocks.
    """
    stride_after = stride_before * spec.stride
    rate_before = max(1, stride_before // output_stride)
    rate_after = max(1, stride_after // output_stride)
    is_switchable = 0 < options.switchable_beyond_stride <= stride_after
    later = BlockPlan(
        kind=spec.block,
        filters=tuple(spec.filters),
        stride=1,
        dilation_rate=rate_after,
        next_dilation_rate=rate_after,
        keep_prob=_keep_prob_of(options, stride_after),
        switchable=is_switchable and spec.block != "axial",
        squeeze_excite=options.squeeze_excite,
    )
    kind = spec.first_block or spec.block
    first = dataclasses.replace(
        later,
        kind=kind,
        filters=tuple(spec.first_filters or spec.filters),
        stride=spec.stride if rate_after == rate_before else 1,
        dilation_rate=rate_before,
        keep_prob=_keep_prob_of(options, stride_before),
        switchable=is_switchable and kind != "axial",
    )
    return [first] + [later] * (spec.num_blocks - 1)


def _keep_prob_of(options: BlockOptions, stride: int) -> float:
    if stride < options.drop_path_beyond_stride:
        return 1.0
    return scheduled_keep_prob(
        options.keep_prob, options.drop_path_schedule, stride
    )
