# SPDX-License-Identifier: Apache-2.0
"""Rules for all systems with a feature pyramid."""

from collections.abc import Collection, Mapping

from deeplab2_like.config.report import Report
from deeplab2_like.protos import (
    config_pb2,
    dataset_descriptor_pb2,
    model_pb2,
)

NUM_LEVELS = 5
NORM_GROUPS = 32
_PYRAMID_STRIDE = 32

# Required name of each loss.
SEMANTIC_LOSSES = {"semantic_loss": "softmax_cross_entropy"}
MASK_RCNN_LOSSES = {
    "proposal_loss": "sigmoid_cross_entropy",
    "proposal_box_loss": "l1",
    "class_loss": "softmax_cross_entropy",
    "box_loss": "l1",
    "mask_loss": "sigmoid_cross_entropy",
}
SOLOV2_LOSSES = {"cell_loss": "sigmoid_focal", "mask_loss": "dice"}
OPTIONAL_LOSSES = {"soft_panoptic_quality_loss": "soft_panoptic_quality"}
# Losses of these systems only.
OWN_LOSSES = tuple(
    dict.fromkeys([*MASK_RCNN_LOSSES, *SOLOV2_LOSSES, *OPTIONAL_LOSSES])
)
_DENSE_LOSSES = ("center_loss", "regression_loss")
# Fields that only systems with centers and offsets read.
_DENSE_FIELDS = {
    "train_dataset_options": (
        "sigma",
        "increase_small_instance_weights",
        "small_instance_threshold",
        "small_instance_weight",
    ),
    "eval_dataset_options": ("sigma",),
    "evaluator_options": (
        "center_score_threshold",
        "nms_kernel",
        "keep_k_centers",
    ),
}


def check_network(
    options: config_pb2.ExperimentOptions, kind: str, report: Report
) -> None:
    """Adds the problems of what all these systems share to a report.

    See `rules`; `kind` is the system's field in model_options.
    """
    model = options.model_options
    stride = model.backbone.output_stride
    if stride != _PYRAMID_STRIDE:
        report.add(
            "model_options.backbone.output_stride",
            stride,
            "the pyramid has strides 4, 8, 16 and 32",
            "Write output_stride: 32.",
        )
    if model.HasField("decoder"):
        report.warn(
            "model_options.decoder",
            "",
            f"it has no effect: {kind} has no decoder",
            "Remove it.",
        )
    for message, fields in _DENSE_FIELDS.items():
        for field in fields:
            if getattr(options, message).HasField(field):
                report.warn(
                    f"{message}.{field}",
                    getattr(getattr(options, message), field),
                    f"it has no effect: objects of {kind} are no centers and "
                    "offsets",
                    "Remove it.",
                )
    evaluator = options.evaluator_options
    scales = list(evaluator.eval_scales)
    for field, value, is_plain in (
        ("eval_scales", scales, scales in ([], [1.0])),
        (
            "add_flipped_images",
            evaluator.add_flipped_images,
            not evaluator.add_flipped_images,
        ),
    ):
        if not is_plain:
            report.add(
                f"evaluator_options.{field}",
                value,
                f"{kind} predicts each image once: objects of several views "
                "cannot be averaged",
                "Remove the field.",
            )


def has_no_things(
    descriptor: dataset_descriptor_pb2.DatasetDescriptor | None,
) -> bool:
    """Returns whether a data set is known to have no things."""
    return descriptor is not None and not any(
        entry.is_thing for entry in descriptor.classes
    )


def shares_thing_channel(model: model_pb2.ModelOptions) -> bool:
    """Returns whether all things are one class of the semantic branch."""
    if model.WhichOneof("meta_architecture") != "panoptic_fpn":
        return False
    system = model.panoptic_fpn
    return system.instance.enable and not system.semantic.separate_things


def check_groups(
    channels: Mapping[str, int], path: str, report: Report
) -> None:
    """Adds channels that group normalization cannot divide to a report.

    Args:
        channels: Value of each field.
        path: Path of the message that has these fields.
        report: Receives the problems.
    """
    for field, value in channels.items():
        if value % NORM_GROUPS:
            report.add(
                f"{path}.{field}",
                value,
                f"group normalization needs a multiple of {NORM_GROUPS}",
            )


def check_losses(
    options: config_pb2.ExperimentOptions,
    kind: str,
    instance: Mapping[str, str],
    report: Report,
    *,
    optional: Collection[str] = (),
    hardest: Collection[str] = (),
) -> None:
    """Adds the problems of the losses to a report.

    Args:
        options: After `validation.complete`.
        kind: The system's field in model_options.
        instance: Name of each loss of its instance branch, by field.
        report: Receives the problems.
        optional: Fields of `OPTIONAL_LOSSES` that the system may have.
        hardest: Fields of the losses in which top_k_percent has an effect.
    """
    losses = options.trainer_options.loss_options
    path = "trainer_options.loss_options"
    needed = dict(instance)
    if getattr(options.model_options, kind).semantic.enable:
        needed |= SEMANTIC_LOSSES
    names = needed | {name: OPTIONAL_LOSSES[name] for name in optional}
    for field in dict.fromkeys([*SEMANTIC_LOSSES, *OWN_LOSSES]):
        if not losses.HasField(field):
            if field in needed:
                report.add(
                    f"{path}.{field}",
                    None,
                    "the model has this output, so it needs its loss",
                    f'Add {field} {{ name: "{names[field]}" }}.',
                )
            continue
        if field not in names:
            report.warn(
                f"{path}.{field}",
                "",
                f"{path}.{field} has no effect: the model has no such branch",
                "Remove it.",
            )
            continue
        given = getattr(losses, field).name
        if given != names[field] and not report.blames(f"{path}.{field}"):
            report.add(
                f"{path}.{field}.name",
                given or None,
                f"for this output it must be {names[field]}",
            )
        share = getattr(losses, field).top_k_percent
        if share < 1.0 and field not in hardest:
            report.warn(
                f"{path}.{field}.top_k_percent",
                share,
                f"it has no effect on {kind}",
                "Remove it.",
            )
    for field in _DENSE_LOSSES:
        if losses.HasField(field):
            report.warn(
                f"{path}.{field}",
                "",
                f"{path}.{field} has no effect on {kind}",
                "Remove it.",
            )
