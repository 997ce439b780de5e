# SPDX-License-Identifier: Apache-2.0
"""Rules for efficientps and its losses."""

from deeplab2_like.config import solov2_grids
from deeplab2_like.config.report import Report
from deeplab2_like.config.rules import Datasets
from deeplab2_like.config.rules import pyramid as pyramid_rules
from deeplab2_like.protos import config_pb2, model_pb2

_KIND = "efficientps"
_PATH = f"model_options.{_KIND}"
# Anchors have strides 4 to 32.
_NUM_ANCHOR_LEVELS = 4
_INSTANCE_LOSSES = {
    "mask_rcnn": pyramid_rules.MASK_RCNN_LOSSES,
    "solov2": pyramid_rules.SOLOV2_LOSSES,
}

_System = model_pb2.ModelOptions.EfficientPsOptions


def check(
    options: config_pb2.ExperimentOptions, datasets: Datasets, report: Report
) -> None:
    """Adds the problems of the network to a report; see `rules`."""
    system = options.model_options.efficientps
    pyramid_rules.check_network(options, _KIND, report)
    branch = system.WhichOneof("instance")
    if branch is None:
        report.add(
            _PATH,
            "",
            "it needs a branch that finds objects",
            "Add mask_rcnn {} or solov2 {}; a model of classes alone is "
            "panoptic_fpn { instance { enable: false } }.",
        )
        return
    descriptor = datasets.get(options.train_dataset_options.dataset)
    if descriptor and pyramid_rules.has_no_things(descriptor):
        report.add(
            f"{_PATH}.{branch}",
            "",
            f'the data set "{descriptor.name}" has no things',
            "Take panoptic_fpn { instance { enable: false } } for a semantic "
            "model.",
        )
    if branch == "mask_rcnn":
        _check_mask_rcnn(system, report)
    else:
        _check_solov2(system.solov2, report)
        _check_same_crops(options, report)


def _check_mask_rcnn(system: _System, report: Report) -> None:
    path = f"{_PATH}.mask_rcnn"
    if not system.mask_rcnn.enable:
        report.add(
            f"{path}.enable",
            False,
            "the model has no other branch that finds objects",
            "Remove the field.",
        )
    sizes = list(system.mask_rcnn.anchor_size)
    if sizes and len(sizes) != _NUM_ANCHOR_LEVELS:
        report.add(
            f"{path}.anchor_size",
            sizes,
            f"anchors have {_NUM_ANCHOR_LEVELS} levels, of stride 4 to 32",
            "Write a size for each, for example "
            "anchor_size: [32, 64, 128, 256].",
        )


def _check_solov2(branch: _System.GridBranchOptions, report: Report) -> None:
    path = f"{_PATH}.solov2"
    number = pyramid_rules.NUM_LEVELS
    for field in ("grid", "smallest_size", "largest_size", "smallest_mask"):
        values = list(getattr(branch, field))
        if values and len(values) != number:
            report.add(
                f"{path}.{field}",
                values,
                f"there are {number} grids, for objects that are small to "
                "large",
                "Write a number for each.",
            )
    pyramid_rules.check_groups(
        {
            "channels": branch.channels,
            "mask_channels": branch.mask_channels,
            "mask_branch_channels": branch.mask_branch_channels,
        },
        path,
        report,
    )
    _check_ranges(branch, path, report)
    if branch.max_masks < branch.max_instances:
        report.warn(
            f"{path}.max_masks",
            branch.max_masks,
            f"of max_instances {branch.max_instances} objects, some have no "
            "cell whose mask is learned",
            f"Write max_masks: {branch.max_instances} or more.",
        )


def _check_ranges(
    branch: _System.GridBranchOptions, path: str, report: Report
) -> None:
    published = zip(*solov2_grids.RANGES, strict=True)
    written = (branch.smallest_size, branch.largest_size)
    smallest, largest = (
        list(values) or list(default)
        for values, default in zip(written, published, strict=True)
    )
    given = "smallest_size" if branch.smallest_size else "largest_size"
    for low, high in zip(smallest, largest, strict=False):
        if low > high:
            report.add(
                f"{path}.{given}",
                low if branch.smallest_size else high,
                f"a grid learns from objects of sizes {low:g} to {high:g} then",
                "smallest_size must not be above largest_size, each grid by "
                "itself.",
            )
    for high, low in zip(largest, smallest[1:], strict=False):
        if high < low:
            report.warn(
                f"{path}.{given}",
                "",
                f"no grid learns from objects of sizes {high:g} to {low:g}",
                "Let the sizes of neighboring grids overlap.",
            )


def _check_same_crops(
    options: config_pb2.ExperimentOptions, report: Report
) -> None:
    learned = list(options.train_dataset_options.crop_size)
    used = list(options.eval_dataset_options.crop_size)
    if learned and used and learned != used:
        report.warn(
            "eval_dataset_options.crop_size",
            used,
            "cells of solov2 are shares of the crop: objects have other sizes "
            f"than in training, where the crop is {learned}",
            "Write one size in both, and fit the images with max_resize_value.",
        )


def check_losses(options: config_pb2.ExperimentOptions, report: Report) -> None:
    """Adds the problems of the losses to a report; see `rules`."""
    branch = options.model_options.efficientps.WhichOneof("instance")
    pyramid_rules.check_losses(
        options,
        _KIND,
        _INSTANCE_LOSSES.get(branch, {}),
        report,
        hardest=pyramid_rules.SEMANTIC_LOSSES,
    )
