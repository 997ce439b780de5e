# SPDX-License-Identifier: Apache-2.0
"""Choices for Panoptic-DeepLab: classes, centers and offsets."""

import math
from collections.abc import Iterator

from deeplab2_like.config import names
from deeplab2_like.recipes.choice import Choice
from deeplab2_like.recipes.plan import Plan
from deeplab2_like.recipes.survey import DataSurvey
from deeplab2_like.recipes.systems import semantics

_MODEL = "model_options"
_HEADS = f"{_MODEL}.panoptic_deeplab"
_LOSSES = "trainer_options.loss_options"
_MAX_NMS = 41


def choose_network(survey: DataSurvey, plan: Plan) -> Iterator[Choice]:
    """Yields decoder and heads.

    Args:
        survey: What the data are like.
        plan: The sizes.
    """
    decoder = f"{_MODEL}.decoder"
    yield Choice(f"{decoder}.feature_key", "res5")
    yield Choice(
        f"{decoder}.decoder_channels",
        64,
        "A quarter of the published channels: the decoder works at a quarter "
        "of the resolution and would take most of the time.",
    )
    yield Choice(f"{decoder}.aspp_channels", 64)
    if plan.is_pretrained:
        side = (min(plan.crop) - 1) // plan.stride + 1
        rate = max(1, min(6, side // 5))
        yield Choice(
            f"{decoder}.atrous_rates",
            [rate, 2 * rate, 3 * rate],
            f"The features of a crop have {side} pixels on the shorter side.",
        )
    else:
        yield Choice(
            f"{decoder}.aspp_use_only_1x1_proj_conv",
            True,
            "The squeeze-and-excite of the encoder sees the whole crop.",
        )
    for index, (key, channels) in enumerate((("res3", 48), ("res2", 24))):
        path = f"{_HEADS}.low_level[{index}]"
        yield Choice(f"{path}.feature_key", key)
        yield Choice(f"{path}.channels_project", channels)
    if survey.has_things:
        for head in ("center_head", "regression_head"):
            yield Choice(f"{_HEADS}.instance.{head}.head_channels", 32)
    else:
        yield Choice(
            f"{_HEADS}.instance.enable",
            False,
            "The data have no things: a semantic model.",
        )
    yield Choice(f"{_HEADS}.semantic_head.head_channels", 64)


def choose_losses(survey: DataSurvey) -> Iterator[Choice]:
    """Yields the losses.

    Args:
        survey: What the data are like.
    """
    yield from semantics.choose_loss(survey)
    if survey.has_things:
        yield Choice(f"{_LOSSES}.center_loss.name", "mse")
        yield Choice(f"{_LOSSES}.center_loss.weight", 200)
        yield Choice(f"{_LOSSES}.regression_loss.name", "l1")
        yield Choice(
            f"{_LOSSES}.regression_loss.weight",
            0.05,
            "Above the published 0.01: objects here have fewer pixels.",
        )


def choose_targets(survey: DataSurvey, plan: Plan) -> Iterator[Choice]:
    """Yields the fields of train_dataset_options that describe targets.

    Args:
        survey: What the data are like.
        plan: The sizes.
    """
    sizes = survey.instance_sizes
    if sizes is None:
        return
    side = sizes.median * plan.scale
    yield Choice(
        "train_dataset_options.sigma",
        round(min(8.0, max(4.0, side / 6)), 1),
        f"A sixth of an object: half of them are under {side:.0f} pixels.",
    )


def choose_evaluation(survey: DataSurvey, plan: Plan) -> Iterator[Choice]:
    """Yields the options of the post-processing.

    Args:
        survey: What the data are like.
        plan: The sizes.
    """
    if not survey.has_things:
        return
    path = "evaluator_options"
    yield from semantics.choose_area_limit(survey, plan.scale)
    yield Choice(
        f"{path}.center_score_threshold",
        0.2,
        "Above the published 0.1, with which objects fell apart.",
    )
    sizes = survey.instance_sizes
    if sizes is not None:
        near = survey.center_distances
        window = sizes.median * plan.scale / 2
        reason = "Half an object"
        if near is not None and near.p10 * plan.scale < window:
            window = near.p10 * plan.scale
            reason = "The distance of close centers"
        window = 2 * math.floor(min(_MAX_NMS, max(3.0, window)) / 2) + 1
        yield Choice(f"{path}.nms_kernel", window, f"{reason}, in pixels.")
    most = round(survey.instances_per_image.most)
    kept = min(names.MAX_CENTERS, max(50, -(-2 * most // 10) * 10))
    yield Choice(
        f"{path}.keep_k_centers",
        kept,
        f"An image has at most {most} objects here; others may have more.",
    )
