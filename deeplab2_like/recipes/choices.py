# SPDX-License-Identifier: Apache-2.0
"""Chooses every field of a config, each with its reason."""

import dataclasses
import math
from collections.abc import Iterator, Sequence

from deeplab2_like import errors
from deeplab2_like.recipes.choice import Choice, Wishes, Word
from deeplab2_like.recipes.machine import Machine
from deeplab2_like.recipes.plan import Plan
from deeplab2_like.recipes.survey import DataSurvey
from deeplab2_like.recipes.systems import (
    panoptic_deeplab,
    pyramids,
    semantics,
)

_TRAIN = "train_dataset_options"
_EVAL = "eval_dataset_options"
_SOLVER = "trainer_options.solver_options"
_SAVE_MINUTES = 3.0
_SHORT_MINUTES = 20.0


@dataclasses.dataclass(frozen=True)
class Files:
    """The files that the config names.

    Attributes:
        dataset: The descriptor, as the config names it.
        train: Pattern of the training records.
        val: Pattern of the evaluation records.
    """

    dataset: str
    train: str
    val: str


def choose(
    survey: DataSurvey,
    machine: Machine,
    plan: Plan,
    wishes: Wishes,
    files: Files,
) -> list[Choice]:
    """Chooses the fields of a config, in the order in which they stand in it.

    Args:
        survey: What the data are like.
        machine: What the machine offers.
        plan: The sizes, see `plan.make_plan`.
        wishes: What the user decided.
        files: The files that the config names.

    Raises:
        errors.ConfigError: The system does not suit the data.
    """
    check_things(survey.has_things, wishes)
    is_dense = plan.system == "panoptic_deeplab"
    choices = [Choice("experiment_name", f"{survey.name}_{plan.system}")]
    choices += _choose_encoder(plan, machine)
    if is_dense:
        choices += panoptic_deeplab.choose_network(survey, plan)
    else:
        choices += pyramids.choose_network(survey, plan)
    choices += _choose_saving(plan)
    if is_dense:
        choices += panoptic_deeplab.choose_losses(survey)
    else:
        choices += pyramids.choose_losses(survey, plan)
    choices += _choose_solver(survey, machine, plan, wishes)
    choices += _choose_training_data(survey, plan, files)
    if is_dense:
        choices += panoptic_deeplab.choose_targets(survey, plan)
    choices += _choose_evaluation_data(survey, plan, files)
    choices += _choose_evaluator(plan, wishes)
    if is_dense:
        choices += panoptic_deeplab.choose_evaluation(survey, plan)
    else:
        choices += semantics.choose_area_limit(survey, plan.scale)
    return choices


def check_things(has_things: bool, wishes: Wishes) -> None:
    """Checks that a system suits the data.

    Args:
        has_things: Whether the data have classes of things.
        wishes: What the user decided.

    Raises:
        errors.ConfigError: It finds objects, and there are none.
    """
    if wishes.system.startswith("efficientps") and not has_things:
        raise errors.ConfigError(
            f"--system={wishes.system} finds objects, and the data have no "
            "class of things. Give --system=panoptic_deeplab or panoptic_fpn, "
            "which become semantic models then, or mark things in the data."
        )


def _choose_encoder(plan: Plan, machine: Machine) -> Iterator[Choice]:
    path = "model_options"
    if plan.is_pretrained:
        yield Choice(
            f"{path}.initial_checkpoint",
            "imagenet",
            "Weights of ImageNet learn from far fewer images than random ones.",
        )
        yield Choice(f"{path}.backbone.name", plan.backbone)
        yield Choice(
            f"{path}.backbone.freeze_batch_norm",
            True,
            "Statistics of ImageNet are better than those of a few crops.",
        )
    else:
        yield Choice(
            f"{path}.backbone.name",
            plan.backbone,
            "Small enough to start from random weights, because there are none "
            f"of ImageNet here. Far better: {machine.missing or 'get them'} "
            "Then make this config again.",
        )
        yield Choice(f"{path}.backbone.use_squeeze_and_excite", True)
    yield Choice(
        f"{path}.backbone.output_stride",
        plan.stride,
        ""
        if plan.stride == 32
        else "Finer than the 32 of classification, for the borders of objects.",
    )


def _choose_saving(plan: Plan) -> Iterator[Choice]:
    path = "trainer_options"
    often = max(10, round(60 * _SAVE_MINUTES / plan.seconds_per_step / 10) * 10)
    yield Choice(f"{path}.num_checkpoints_to_keep", 2)
    yield Choice(
        f"{path}.save_checkpoints_steps",
        min(often, plan.steps),
        f"About every {_SAVE_MINUTES:.0f} minutes.",
    )
    yield Choice(f"{path}.save_summaries_steps", 10)
    yield Choice(f"{path}.steps_per_loop", 10)


def _choose_solver(
    survey: DataSurvey, machine: Machine, plan: Plan, wishes: Wishes
) -> Iterator[Choice]:
    yield Choice(
        f"{_SOLVER}.batchnorm_momentum",
        0.95,
        "Moving statistics of 0.99 lag behind in a run this short.",
    )
    yield Choice(f"{_SOLVER}.use_gradient_clipping", True)
    yield Choice(
        f"{_SOLVER}.base_learning_rate",
        0.004 if plan.is_pretrained else 0.0025,
        "High, for a short training; halve it if the loss jumps.",
    )
    if plan.is_pretrained:
        yield Choice(
            f"{_SOLVER}.backbone_learning_rate_multiplier",
            0.2,
            "Slower changes keep what the encoder knows.",
        )
    yield Choice(f"{_SOLVER}.warmup_steps", max(1, min(50, plan.steps // 10)))
    epochs = plan.steps * plan.batch / survey.num_images[0]
    yield Choice(
        f"{_SOLVER}.training_number_of_steps",
        plan.steps,
        f"About {plan.steps * plan.seconds_per_step / 60:.0f} minutes "
        f"(--minutes={wishes.minutes:g}): a step takes an estimated "
        f"{plan.seconds_per_step:.1f} s on {machine.cores} cores. Each image "
        f"is seen {epochs:.0f} times. More steps are better.",
    )
    yield Choice(
        f"{_SOLVER}.ema_decay",
        0.99 if plan.steps < 2000 else 0.998,
        "The average of the last steps is better than the last one.",
    )


def _describe_sizes(survey: DataSurvey) -> str:
    heights, widths = survey.heights, survey.widths
    if survey.num_sizes == 1:
        return f"All images have {heights.most:.0f} x {widths.most:.0f} pixels."
    return (
        f"Images have {heights.least:.0f} to {heights.most:.0f} x "
        f"{widths.least:.0f} to {widths.most:.0f} pixels, in the middle "
        f"{heights.median:.0f} x {widths.median:.0f}."
    )


def _choose_scale(survey: DataSurvey, plan: Plan) -> Iterator[Choice]:
    """Yields the fields that both splits have to have alike."""
    for split in (_TRAIN, _EVAL):
        has_reason = split == _TRAIN
        if plan.scale != 1.0:
            yield Choice(
                f"{split}.input_scale_factor",
                plan.scale,
                _explain_scale(survey, plan) * has_reason,
            )
        if plan.max_side and plan.system == "efficientps_solov2":
            # Enlarged too, so that objects have one size.
            side = plan.max_side
            reason = "Cells are shares of the canvas: one size for all images."
            for field in ("min_resize_value", "max_resize_value"):
                yield Choice(f"{split}.{field}", [side], reason * has_reason)
                reason = ""
        elif plan.max_side:
            yield Choice(
                f"{split}.max_resize_value",
                [plan.max_side],
                "Few images are larger than that." * has_reason,
            )


def _explain_scale(survey: DataSurvey, plan: Plan) -> str:
    sizes = survey.instance_sizes
    if plan.scale > 1 and sizes is not None:
        return (
            f"Objects are small, nine of ten under {sizes.p90:.0f} pixels, and "
            "masks have a quarter of the resolution."
        )
    small = (
        f", where three quarters of the objects still have "
        f"{sizes.p25 * plan.scale:.0f} pixels or more"
        if sizes is not None
        else ""
    )
    return f"Smaller images take less time{small}."


def _choose_training_data(
    survey: DataSurvey, plan: Plan, files: Files
) -> Iterator[Choice]:
    yield Choice(f"{_TRAIN}.dataset", files.dataset)
    yield Choice(f"{_TRAIN}.file_pattern", files.train)
    yield Choice(
        f"{_TRAIN}.batch_size",
        plan.batch,
        "Few crops a step, so that there are many steps.",
    )
    yield Choice(
        f"{_TRAIN}.crop_size",
        list(plan.crop),
        f"{_describe_sizes(survey)} Sides are multiples of {plan.stride}, and "
        "1.",
    )
    yield from (
        c for c in _choose_scale(survey, plan) if c.path.startswith(_TRAIN)
    )
    path = f"{_TRAIN}.augmentations"
    is_fixed = plan.system == "efficientps_solov2"
    yield Choice(
        f"{path}.min_scale_factor",
        0.75 if is_fixed else 0.5,
        "Images are shown in many sizes, and half of them mirrored (always).",
    )
    yield Choice(f"{path}.max_scale_factor", 1.25 if is_fixed else 1.5)
    yield Choice(f"{path}.scale_factor_step_size", 0)


def _choose_evaluation_data(
    survey: DataSurvey, plan: Plan, files: Files
) -> Iterator[Choice]:
    yield Choice(f"{_EVAL}.dataset", files.dataset)
    yield Choice(f"{_EVAL}.file_pattern", files.val)
    yield Choice(f"{_EVAL}.batch_size", 1)
    yield Choice(
        f"{_EVAL}.crop_size",
        list(plan.smallest_canvas),
        "The canvas that holds every image."
        if plan.has_one_canvas
        else "The smallest canvas; larger images get one that holds them.",
    )
    yield from (
        c for c in _choose_scale(survey, plan) if c.path.startswith(_EVAL)
    )
    if not plan.has_one_canvas:
        yield Choice(f"{_EVAL}.pad_to_multiple_of", plan.stride)
    yield Choice(
        f"{_EVAL}.padding_mode",
        Word("REFLECT"),
        "What is beside the image is its mirror image: gray disturbs features.",
    )


def _choose_evaluator(plan: Plan, wishes: Wishes) -> Iterator[Choice]:
    interval, reason = plan.steps, "At the end: evaluations take time, too."
    if wishes.minutes > _SHORT_MINUTES:
        interval = math.ceil(plan.steps / 5 / 10) * 10
        reason = "Five times."
    yield Choice("evaluator_options.eval_interval", interval, reason)
    yield Choice("evaluator_options.num_vis_samples", 8)
    yield Choice(
        "evaluator_options.save_predictions",
        True,
        "Pictures of some evaluation images, in `vis` in the model folder.",
    )


def list_warnings(survey: DataSurvey) -> Sequence[str]:
    """Lists what about the data will keep a model from learning.

    Args:
        survey: What the data are like.
    """
    lines = []
    few = survey.num_images[0]
    if few < 20:
        lines.append(
            f"{few} training image{'s are' if few > 1 else ' is'} very few: "
            "expect a model of these images, not of others."
        )
    for place, split, other in ((0, "training", 1), (1, "evaluation", 0)):
        names = [
            c.name
            for c in survey.classes
            if not c.pixels[place] and c.pixels[other]
        ]
        if names:
            shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            effect = "learned" if place == 0 else "scored"
            lines.append(
                f"{len(names)} classes are in no {split} image and cannot be "
                f"{effect}: {shown}."
            )
    once = [c.name for c in survey.classes if c.images[0] in (1, 2)]
    if once:
        shown = ", ".join(once[:5]) + (", ..." if len(once) > 5 else "")
        lines.append(
            f"{len(once)} classes are in one or two training images only: "
            f"{shown}."
        )
    if survey.void_share > 0.5:
        lines.append(
            f"{100 * survey.void_share:.0f} % of the pixels have no label, and "
            "nothing is learned there. Label the rest as a class."
        )
    return lines
