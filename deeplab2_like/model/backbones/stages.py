# SPDX-License-Identifier: Apache-2.0
"""Stages of residual networks as data, and the plan of their blocks.

A stage is specified as in the classification net. `plan_stage` derives what
each block is for a given output stride and given options.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from deeplab2_like.model.layers.drop_path import scheduled_keep_prob


@dataclasses.dataclass(frozen=True)
class StageSpec:
    """One stage.

    Attributes:
        number: 1 to 5; names the endpoints stageN and resN.
        block: key of `residual_blocks.BLOCKS`.
        num_blocks: how many blocks, the first included.
        filters: output channels of each layer of a block's branch.
        stride: of the first block, in the classification net.
        first_block: kind of the first block where it differs.
        first_filters: its `filters`; needed with `first_block`.
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
        """Returns a specification from one, or from its fields."""
        return value if isinstance(value, StageSpec) else cls(**value)

    def to_config(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(self).items()
        }


@dataclasses.dataclass(frozen=True)
class BlockOptions:
    """What can be added to the blocks of any network of this family.

    Strides are those of the classification net.

    Attributes:
        keep_prob: probability that a branch is kept in training, at the end
            of the network; 1: drop path does not exist.
        drop_path_schedule: key of `drop_path.SCHEDULES`.
        drop_path_beyond_stride: blocks whose input has at least this stride
            have drop path.
        switchable_beyond_stride: stages whose output has at least this stride
            have switchable atrous convolutions, where they have 3x3
            convolutions; -1: none.
        squeeze_excite: whether branches end with channel gates.
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
        """Returns options from some, or from their fields; None: defaults."""
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
    """Returns what each block of a stage is.

    A stage whose stride would go beyond `output_stride` keeps the resolution.
    Its first block keeps the rate from before, the later ones dilate by the
    stage's stride more.

    Args:
        spec: the stage.
        stride_before: stride of its input in the classification net.
        output_stride: image size / size of the last feature map.
        options: what is added to the blocks.
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
