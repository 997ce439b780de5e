# SPDX-License-Identifier: Apache-2.0
"""Rules for the weights of classes in the semantic loss."""

from deeplab2_like.config.problems import describe_nearest
from deeplab2_like.config.report import Report
from deeplab2_like.config.rules import Datasets
from deeplab2_like.config.rules import pyramid as pyramid_rules
from deeplab2_like.protos import (
    config_pb2,
    dataset_descriptor_pb2,
    trainer_pb2,
)

_LOSSES = "trainer_options.loss_options"
_SEMANTIC = "semantic_loss"
_PATH = f"{_LOSSES}.{_SEMANTIC}"
_NAMES_SHOWN = 8

_Loss = trainer_pb2.LossOptions.SingleLossOptions


def check(
    options: config_pb2.ExperimentOptions, datasets: Datasets, report: Report
) -> None:
    """Adds the problems of weights of classes to a report; see `rules`."""
    losses = options.trainer_options.loss_options
    for field, loss in losses.ListFields():
        if field.message_type is not None and field.name != _SEMANTIC:
            _check_other(f"{_LOSSES}.{field.name}", loss, report)
    if not losses.HasField(_SEMANTIC):
        return
    loss = losses.semantic_loss
    ways = _list_ways(loss)
    if len(ways) > 1:
        report.add(
            f"{_PATH}.{ways[-1]}",
            "",
            f"{_PATH} has {' and '.join(ways)}, which exclude each other",
            f"Keep one of them: remove {' or '.join(ways)}.",
        )
    if loss.HasField("max_class_weight") and "balance" not in ways:
        report.warn(
            f"{_PATH}.max_class_weight",
            loss.max_class_weight,
            "it has no effect without balance",
            "Remove it, or write balance: MEDIAN_FREQUENCY.",
        )
    descriptor = datasets.get(options.train_dataset_options.dataset)
    if descriptor is None:
        return
    _check_names(loss, descriptor, report)
    _check_length(loss, descriptor, report)
    if not report.blames(_PATH) and (
        pyramid_rules.shares_thing_channel(options.model_options)
    ):
        _check_things(loss, descriptor, report)


def _list_ways(loss: _Loss) -> list[str]:
    """Lists the fields that give weights."""
    return [
        name
        for name, is_set in (
            ("class_weight", len(loss.class_weight)),
            ("class_weights", len(loss.class_weights)),
            ("balance", loss.balance != _Loss.NONE),
        )
        if is_set
    ]


def _check_other(path: str, loss: _Loss, report: Report) -> None:
    for name in _list_ways(loss):
        report.warn(
            f"{path}.{name}",
            "",
            f"{path}.{name} has no effect: only {_SEMANTIC} has weights of "
            "classes",
            "Remove it.",
        )


def _check_names(
    loss: _Loss,
    descriptor: dataset_descriptor_pb2.DatasetDescriptor,
    report: Report,
) -> None:
    known = {entry.name: i for i, entry in enumerate(descriptor.classes)}
    seen: set[str] = set()
    for index, entry in enumerate(loss.class_weight):
        path = f"{_PATH}.class_weight[{index}].name"
        if not entry.name:
            fix = 'Write class_weight { name: "..." weight: 3 }.'
            report.add(path, None, "it is required", fix)
        elif entry.name not in known:
            nearest = describe_nearest(entry.name, known, _NAMES_SHOWN)
            report.add(
                path,
                entry.name,
                f'"{descriptor.name}" has no class of this name',
                f"Classes: {nearest}.",
            )
        elif entry.name in seen:
            report.add(path, entry.name, "it has a weight already")
        elif known[entry.name] == descriptor.ignore_label:
            report.warn(
                path,
                entry.name,
                "it has no effect: this class stands for void",
                "Remove it.",
            )
        seen.add(entry.name)


def _check_length(
    loss: _Loss,
    descriptor: dataset_descriptor_pb2.DatasetDescriptor,
    report: Report,
) -> None:
    given, count = len(loss.class_weights), len(descriptor.classes)
    if given and given != count:
        report.add(
            f"{_PATH}.class_weights",
            "",
            f"{_PATH}.class_weights has {given} of the {count} values for the "
            f'classes of "{descriptor.name}"',
            "Give one for each class, or single ones by class_weight { name: "
            '"..." weight: 3 }.',
        )


def _check_things(
    loss: _Loss,
    descriptor: dataset_descriptor_pb2.DatasetDescriptor,
    report: Report,
) -> None:
    """Refuses weights of things that differ where things share a channel."""
    by_name = {entry.name: entry.weight for entry in loss.class_weight}
    weights = {
        (
            loss.class_weights[index]
            if loss.class_weights
            else by_name.get(entry.name, 1.0)
        )
        for index, entry in enumerate(descriptor.classes)
        if entry.is_thing
    }
    if len(weights) > 1:
        way = "class_weights" if loss.class_weights else "class_weight"
        report.add(
            f"{_PATH}.{way}",
            "",
            f"{_PATH}.{way} gives the things weights of "
            f"{' and '.join(f'{w:g}' for w in sorted(weights))}, but they are "
            "one class in the semantic branch of this config",
            "Give all things the same weight, or write panoptic_fpn { semantic "
            "{ separate_things: true } }.",
        )
