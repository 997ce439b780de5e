# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from deeplab2_like.model.backbones.stages import (
    BlockOptions,
    StageSpec,
    plan_stage,
)


def _rates(plans):
    return [(p.stride, p.dilation_rate, p.next_dilation_rate) for p in plans]


def test_stages_within_the_output_stride_have_their_strides():
    stage = StageSpec(3, "basic", 3, (8, 8))
    assert _rates(plan_stage(stage, 4, 32)) == [
        (2, 1, 1),
        (1, 1, 1),
        (1, 1, 1),
    ]


def test_the_first_block_beyond_the_output_stride_keeps_the_rate():
    stage4 = StageSpec(4, "basic", 2, (8, 8))
    stage5 = StageSpec(5, "basic", 3, (8, 8))
    assert _rates(plan_stage(stage5, 16, 16)) == [
        (1, 1, 2),
        (1, 2, 2),
        (1, 2, 2),
    ]
    assert _rates(plan_stage(stage4, 8, 8)) == [(1, 1, 2), (1, 2, 2)]
    assert _rates(plan_stage(stage5, 16, 8)) == [
        (1, 2, 4),
        (1, 4, 4),
        (1, 4, 4),
    ]


def test_the_first_block_may_be_of_another_kind():
    stage = StageSpec(
        4,
        "axial",
        3,
        (16, 16, 8),
        first_block="basic",
        first_filters=(8, 8),
    )
    plans = plan_stage(stage, 8, 16)
    assert [p.kind for p in plans] == ["basic", "axial", "axial"]
    assert [p.filters for p in plans] == [(8, 8), (16, 16, 8), (16, 16, 8)]
    assert [p.stride for p in plans] == [2, 1, 1]


def test_drop_path_follows_the_stride_of_a_blocks_input():
    options = BlockOptions(
        keep_prob=0.8, drop_path_schedule="linear", drop_path_beyond_stride=4
    )

    def probs(stride_before):
        stage = StageSpec(3, "basic", 3, (8, 8))
        plans = plan_stage(stage, stride_before, 16, options)
        return [p.keep_prob for p in plans]

    assert probs(2) == pytest.approx([1.0, 0.95, 0.95])
    assert probs(4) == pytest.approx([0.95, 0.9, 0.9])
    assert probs(16) == pytest.approx([0.85, 0.8, 0.8])


def test_drop_path_begins_at_its_stride():
    options = BlockOptions(keep_prob=0.8)  # constant, from stride 16 on
    stage = StageSpec(4, "basic", 3, (8, 8))
    probs = [p.keep_prob for p in plan_stage(stage, 8, 16, options)]
    assert probs == [1.0, 0.8, 0.8]


@pytest.mark.parametrize(
    ("beyond", "expected"), [(-1, False), (16, True), (32, False)]
)
def test_switches_follow_the_stride_of_a_stages_output(beyond, expected):
    options = BlockOptions(switchable_beyond_stride=beyond)
    stage = StageSpec(4, "bottleneck", 2, (8, 8, 8))
    for output_stride in (8, 32):
        plans = plan_stage(stage, 8, output_stride, options)
        assert [p.switchable for p in plans] == [expected] * 2


def test_axial_blocks_have_no_switches():
    options = BlockOptions(switchable_beyond_stride=4)
    stage = StageSpec(
        4, "axial", 2, (8, 8, 8), first_block="basic", first_filters=(8, 8)
    )
    plans = plan_stage(stage, 8, 16, options)
    assert [p.switchable for p in plans] == [True, False]


def test_specifications_survive_json():
    stage = StageSpec(
        4, "axial", 2, (8, 8, 8), first_block="basic", first_filters=(8, 8)
    )
    config = json.loads(json.dumps(stage.to_config()))
    again = StageSpec.of(config)
    assert again.to_config() == stage.to_config()
    assert plan_stage(again, 8, 16) == plan_stage(stage, 8, 16)
    assert BlockOptions.of({"keep_prob": 0.5}) == BlockOptions(keep_prob=0.5)
    assert BlockOptions.of(None) == BlockOptions()
