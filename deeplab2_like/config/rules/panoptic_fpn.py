# SPDX-License-Identifier: Apache-2.0
"""Rules for panoptic_fpn and its losses."""

from deeplab2_like.config.report import Report
from deeplab2_like.config.rules import pyramid as pyramid_rules
from deeplab2_like.protos import (
    config_pb2,
    dataset_descriptor_pb2,
    model_pb2,
)

_KIND = "panoptic_fpn"
_PATH = f"model_options.{_KIND}"


def check(
    options: config_pb2.ExperimentOptions,
    descriptor: dataset_descriptor_pb2.DatasetDescriptor | None,
    report: Report,
) -> None:
    """Adds the problems of the network to a report.

    Args:
        options: After `validation.complete`.
        descriptor: Descriptor of the data set; None when not known.
        report: Receives the problems.
    """
    system = options.model_options.panoptic_fpn
    pyramid_rules.check_network(options, _KIND, report)
    pyramid_rules.check_groups(
        {"channels": system.semantic.channels}, f"{_PATH}.semantic", report
    )
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
    if descriptor and pyramid_rules.has_no_things(descriptor):
        report.add(
            f"{_PATH}.instance.enable",
            True,
            f'the data set "{descriptor.name}" has no things',
            "Write instance { enable: false } for a semantic model.",
        )
    _check_instance(instance, report)


def _check_instance(
    branch: model_pb2.ModelOptions.PanopticFpnOptions.InstanceBranchOptions,
    report: Report,
) -> None:
    sizes = list(branch.anchor_size)
    if sizes and len(sizes) != pyramid_rules.NUM_LEVELS:
        report.add(
            f"{_PATH}.instance.anchor_size",
            sizes,
            f"the pyramid has {pyramid_rules.NUM_LEVELS} levels, of stride 4 "
            "to 64",
            "Write a size for each, for example "
            "anchor_size: [32, 64, 128, 256, 512].",
        )


def check_losses(options: config_pb2.ExperimentOptions, report: Report) -> None:
    """Adds the problems of the losses to a report.

    Args:
        options: After `validation.complete`.
        report: Receives the problems.
    """
    system = options.model_options.panoptic_fpn
    needed: dict[str, str] = {}
    if system.semantic.enable:
        needed |= pyramid_rules.SEMANTIC_LOSSES
    if system.instance.enable:
        needed |= pyramid_rules.MASK_RCNN_LOSSES
    pyramid_rules.check_losses(
        options, _KIND, needed, pyramid_rules.OPTIONAL_LOSSES, report
    )
