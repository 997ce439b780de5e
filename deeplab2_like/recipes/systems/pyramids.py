# SPDX-License-Identifier: Apache-2.0
"""Choices for the systems with a pyramid: Panoptic FPN and EfficientPS."""

import math
from collections.abc import Iterator

from deeplab2_like.recipes.choice import Choice
from deeplab2_like.recipes.plan import Plan
from deeplab2_like.recipes.survey import DataSurvey
from deeplab2_like.recipes.systems import semantics

_LOSSES = "trainer_options.loss_options"
_NAMES = {
    "mask_rcnn": {
        "proposal_loss": "sigmoid_cross_entropy",
        "proposal_box_loss": "l1",
        "class_loss": "softmax_cross_entropy",
        "box_loss": "l1",
        "mask_loss": "sigmoid_cross_entropy",
    },
    "solov2": {"cell_loss": "sigmoid_focal", "mask_loss": "dice"},
}
# Shorter side of the images that the published sizes of SOLOv2 are for.
_PUBLISHED_SIDE = 800
_RANGES = ((1, 96), (48, 192), (96, 384), (192, 768), (384, 2048))


def _branch(plan: Plan) -> str:
    return "solov2" if plan.system == "efficientps_solov2" else "mask_rcnn"


def choose_network(survey: DataSurvey, plan: Plan) -> Iterator[Choice]:
    """Yields pyramid and branches.

    Args:
        survey: What the data are like.
        plan: The sizes.
    """
    if plan.system == "panoptic_fpn":
        yield from _choose_panoptic_fpn(survey, plan)
        return
    path = "model_options.efficientps"
    yield from _choose_pyramid(path)
    branch = f"{path}.{_branch(plan)}"
    if plan.system == "efficientps":
        yield from _choose_mask_rcnn(survey, plan, branch, levels=4)
    else:
        yield from _choose_solov2(survey, plan, branch)


def _choose_pyramid(path: str) -> Iterator[Choice]:
    yield Choice(
        f"{path}.pyramid_channels",
        64,
        "A quarter of the published channels, for processors.",
    )
    yield Choice(f"{path}.semantic.channels", 64)


def _choose_panoptic_fpn(survey: DataSurvey, plan: Plan) -> Iterator[Choice]:
    path = "model_options.panoptic_fpn"
    yield from _choose_pyramid(path)
    if not survey.has_things:
        yield Choice(
            f"{path}.instance.enable",
            False,
            "The data have no things: a semantic model.",
        )
        return
    if not any(not c.is_thing for c in survey.classes):
        yield Choice(
            f"{path}.semantic.separate_things",
            True,
            "There is no stuff: as one class, all pixels would be alike.",
        )
    yield from _choose_mask_rcnn(survey, plan, f"{path}.instance", levels=5)


def _count_objects(survey: DataSurvey, limit: int) -> int:
    """Returns a number of objects that an image is allowed to have."""
    most = round(survey.instances_per_image.most)
    return min(limit, max(20, -(-most * 5 // 4 // 10) * 10))


def _choose_mask_rcnn(
    survey: DataSurvey, plan: Plan, path: str, *, levels: int
) -> Iterator[Choice]:
    yield Choice(f"{path}.channels", 64)
    yield Choice(f"{path}.box_head_units", 256)
    yield Choice(f"{path}.mask_head_convolutions", 2)
    if survey.instance_sizes is not None:
        small = survey.instance_sizes.p10 * plan.scale
        first = 2 ** max(3, min(5, round(math.log2(small))))
        yield Choice(
            f"{path}.anchor_size",
            [first * 2**level for level in range(levels)],
            f"A tenth of the objects is smaller than {small:.0f} pixels.",
        )
    objects = _count_objects(survey, 800)
    yield Choice(
        f"{path}.max_instances",
        objects,
        f"An image has at most {survey.instances_per_image.most:.0f} objects.",
    )
    yield Choice(f"{path}.anchor_samples", 128)
    yield Choice(f"{path}.region_samples", 64)
    yield Choice(f"{path}.train_level_proposals", 400)
    yield Choice(f"{path}.level_proposals", 300)
    yield Choice(f"{path}.num_proposals", max(200, objects))
    yield Choice(f"{path}.max_detections", max(100, objects))
    yield Choice(
        f"{path}.merge_score_threshold",
        0.3,
        "Below the published 0.5: scores of a short training are low.",
    )


def _choose_solov2(
    survey: DataSurvey, plan: Plan, path: str
) -> Iterator[Choice]:
    factor = min(plan.crop) / _PUBLISHED_SIDE
    reason = f"The published sizes times {factor:.2g}, as the images are."
    for index, field in enumerate(("smallest_size", "largest_size")):
        values = [max(1, round(limits[index] * factor)) for limits in _RANGES]
        if index == 1:
            values[-1] = 2048
        yield Choice(f"{path}.{field}", values, reason)
        reason = ""
    yield Choice(f"{path}.smallest_mask", [0, 0, 1, 2, 2])
    yield Choice(f"{path}.channels", 64)
    yield Choice(f"{path}.convolutions", 2)
    yield Choice(f"{path}.mask_channels", 64)
    yield Choice(f"{path}.mask_branch_channels", 64)
    objects = _count_objects(survey, 500)
    yield Choice(
        f"{path}.max_instances",
        objects,
        f"An image has at most {survey.instances_per_image.most:.0f} objects.",
    )
    yield Choice(f"{path}.max_masks", max(128, objects))
    yield Choice(f"{path}.candidates", max(300, 2 * objects))
    yield Choice(f"{path}.max_detections", max(100, objects))
    yield Choice(
        f"{path}.merge_score_threshold",
        0.15,
        "Below the published 0.3: scores of a short training are low.",
    )


def choose_losses(survey: DataSurvey, plan: Plan) -> Iterator[Choice]:
    """Yields the losses.

    Args:
        survey: What the data are like.
        plan: The sizes.
    """
    hardest = 1.0 if plan.system == "panoptic_fpn" else 0.25
    yield from semantics.choose_loss(
        survey, top_k_percent=hardest, weight=hardest
    )
    if not survey.has_things:
        return
    for field, name in _NAMES[_branch(plan)].items():
        yield Choice(f"{_LOSSES}.{field}.name", name)
        if field == "box_loss":
            yield Choice(
                f"{_LOSSES}.{field}.weight",
                3,
                "Boxes cut their masks off: they are learned last otherwise.",
            )
        if name == "dice":
            yield Choice(f"{_LOSSES}.{field}.weight", 3)
