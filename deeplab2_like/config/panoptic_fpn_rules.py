# SPDX-License-Identifier: Apache-2.0
"""What the fields of panoptic_fpn must be, and which losses it needs."""

from deeplab2_like.config.report import Report
from deeplab2_like.protos import (
    config_pb2,
    dataset_descriptor_pb2,
    evaluator_pb2,
    model_pb2,
)

_PATH = "model_options.panoptic_fpn"
_NUM_LEVELS = 5
_NORM_GROUPS = 32
_PYRAMID_STRIDE = 32

# Loss of each branch -> the name that it must have.
_SEMANTIC_LOSSES = {"semantic_loss": "softmax_cross_entropy"}
_INSTANCE_LOSSES = {
    "proposal_loss": "sigmoid_cross_entropy",
    "proposal_box_loss": "l1",
    "class_loss": "softmax_cross_entropy",
    "box_loss": "l1",
    "mask_loss": "sigmoid_cross_entropy",
}
_OPTIONAL_LOSSES = {"soft_panoptic_quality_loss": "soft_panoptic_quality"}
OWN_LOSSES = (*_INSTANCE_LOSSES, *_OPTIONAL_LOSSES)


def check(
    options: config_pb2.ExperimentOptions,
    descriptor: dataset_descriptor_pb2.DatasetDescriptor | None,
    report: Report,
) -> None:
    """Adds the problems of the network to a report.

    Args:
        options: After `validation.complete`.
        descriptor: Of the data set; None when it is not known.
        report: Is added to.
    """
    model = options.model_options
    system = model.panoptic_fpn
    stride = model.backbone.output_stride
    if stride != _PYRAMID_STRIDE:
        report.add(
            "model_options.backbone.output_stride",
            stride,
            "the pyramid stands on strides 4, 8, 16 and 32",
            "Write output_stride: 32.",
        )
    if model.HasField("decoder"):
        report.warn(
            "model_options.decoder",
            "",
            "it has no effect: panoptic_fpn has no decoder",
            "Remove it.",
        )
    _check_views(options.evaluator_options, report)
    _check_semantic(system.semantic, report)
    instance = system.instance
    if not instance.enable:
        if not system.semantic.enable:
            report.add(
                f"{_PATH}.semantic.enable",
                False,
                "a model needs one branch at least",
                "Enable the semantic or the instance branch.",
            )
        return
    things = descriptor and any(c.is_thing for c in descriptor.classes)
    if descriptor and not things:
        report.add(
            f"{_PATH}.instance.enable",
            True,
            f'the data set "{descriptor.name}" has no things',
            "Write instance { enable: false } for a semantic model.",
        )
    _check_instance(instance, report)


def _check_views(
    evaluator: evaluator_pb2.EvaluatorOptions, report: Report
) -> None:
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
                "panoptic_fpn predicts each image once: objects of several "
                "views cannot be averaged",
                "Remove the field.",
            )


def _check_semantic(
    branch: model_pb2.ModelOptions.PanopticFpnOptions.SemanticBranchOptions,
    report: Report,
) -> None:
    if branch.channels % _NORM_GROUPS:
        report.add(
            f"{_PATH}.semantic.channels",
            branch.channels,
            f"group normalisation needs a multiple of {_NORM_GROUPS}",
        )


def _check_instance(
    branch: model_pb2.ModelOptions.PanopticFpnOptions.InstanceBranchOptions,
    report: Report,
) -> None:
    sizes = list(branch.anchor_size)
    if sizes and len(sizes) != _NUM_LEVELS:
        report.add(
            f"{_PATH}.instance.anchor_size",
            sizes,
            f"the pyramid has {_NUM_LEVELS} levels, of stride 4 to 64",
            "Write a size for each, for example "
            "anchor_size: [32, 64, 128, 256, 512].",
        )


def check_losses(options: config_pb2.ExperimentOptions, report: Report) -> None:
    """Adds the problems of the losses to a report.

    Args:
        options: After `validation.complete`.
        report: Is added to.
    """
    system = options.model_options.panoptic_fpn
    losses = options.trainer_options.loss_options
    path = "trainer_options.loss_options"
    needed = dict(_SEMANTIC_LOSSES) if system.semantic.enable else {}
    if system.instance.enable:
        needed |= _INSTANCE_LOSSES
    every = {**_SEMANTIC_LOSSES, **_INSTANCE_LOSSES, **_OPTIONAL_LOSSES}
    for field, name in every.items():
        if not losses.HasField(field):
            if field in needed:
                report.add(
                    f"{path}.{field}",
                    None,
                    "the model has this output, so it needs its loss",
                    f'Add {field} {{ name: "{name}" }}.',
                )
            continue
        given = getattr(losses, field).name
        if given != name and not report.blames(f"{path}.{field}"):
            report.add(
                f"{path}.{field}.name",
                given or None,
                f"for this output it must be {name}",
            )
        if field not in needed and field not in _OPTIONAL_LOSSES:
            report.warn(
                f"{path}.{field}",
                "",
                f"{path}.{field} has no effect: the model has no such branch",
                "Remove it.",
            )
    for field in ("center_loss", "regression_loss"):
        if losses.HasField(field):
            report.warn(
                f"{path}.{field}",
                "",
                f"{path}.{field} has no effect on panoptic_fpn",
                "Remove it.",
            )
