# SPDX-License-Identifier: Apache-2.0
"""Rules for panoptic_fpn and its losses."""

from deeplab2_like.config.report import Report
from deeplab2_like.config.rules import Datasets
from deeplab2_like.config.rules import pyramid as pyramid_rules
from deeplab2_like.protos import config_pb2, model_pb2

_KIND = "panoptic_fpn"
_PATH = f"model_options.{_KIND}"


def check(
    options: config_pb2.ExperimentOptions, datasets: Datasets, report: Report
) -> None:
    """Adds the problems of the network to a report; see `rules`."""
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
    descriptor = datasets.get(options.train_dataset_options.dataset)
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
    """Adds the problems of the losses to a report; see `rules`."""
    has_instances = options.model_options.panoptic_fpn.instance.enable
    pyramid_rules.check_losses(
        options,
        _KIND,
        pyramid_rules.MASK_RCNN_LOSSES if has_instances else {},
        report,
        optional=pyramid_rules.OPTIONAL_LOSSES,
    )
