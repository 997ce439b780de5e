# SPDX-License-Identifier: Apache-2.0
"""Completes and validates a config as a whole.

`complete` fills in what follows from other fields. `check_options` checks each
field by its rule in `rules.fields`, then the fields against each other.
"""

from collections.abc import Mapping, Sequence

from google.protobuf.message import Message

from deeplab2_like.config import textproto
from deeplab2_like.config.problems import WARNING, Problem
from deeplab2_like.config.report import Report, iterate_fields
from deeplab2_like.config.rules import Datasets, kinds
from deeplab2_like.config.rules import class_weights as class_weight_rules
from deeplab2_like.config.rules import classes as class_rules
from deeplab2_like.config.rules import consistency as consistency_rules
from deeplab2_like.config.rules import dataset as dataset_rules
from deeplab2_like.config.rules import fields as field_rules
from deeplab2_like.config.rules import large_lists as large_list_rules
from deeplab2_like.config.rules import model as model_rules
from deeplab2_like.config.rules import naive_student as naive_student_rules
from deeplab2_like.config.rules import trainer as trainer_rules
from deeplab2_like.protos import config_pb2, dataset_descriptor_pb2


def complete(options: config_pb2.ExperimentOptions, datasets: Datasets) -> None:
    """Fills in the fields that follow from others, in place.

    Channels of heads and class counts follow from the data set, a single
    crop_size value stands for both sides, and the messages that have defaults
    for everything exist.

    Args:
        options: Options to complete; is changed.
        datasets: The descriptors that `options` names, by name.
    """
    for name in ("trainer_options", "evaluator_options"):
        getattr(options, name).SetInParent()
    options.trainer_options.solver_options.SetInParent()
    for name in ("train_dataset_options", "eval_dataset_options"):
        if options.HasField(name):
            dataset_rules.complete(getattr(options, name))
    descriptor = datasets.get(options.train_dataset_options.dataset)
    if options.HasField("model_options"):
        num_classes = len(descriptor.classes) if descriptor else 0
        model_rules.complete(options.model_options, num_classes)


def check_options(
    options: config_pb2.ExperimentOptions,
    datasets: Datasets,
    unfilled: Mapping[str, Sequence[str]],
    report: Report,
) -> None:
    """Adds all problems of completed options to a report.

    Args:
        options: After `complete`.
        datasets: The descriptors that `options` names, by name.
        unfilled: Unfilled place-holders by field path.
        report: Receives the problems.
    """
    system = options.model_options.WhichOneof("meta_architecture")
    refused = field_rules.REFUSED_MESSAGES.get(f"ModelOptions.{system}")
    if refused is not None:
        # The other fields of the config belong to that system.
        report.problems.clear()
        _refuse(f"model_options.{system}", refused, report)
        return
    _check_fields(options, unfilled, report)
    model_rules.check(options, datasets, report)
    for name in ("train_dataset_options", "eval_dataset_options"):
        dataset_rules.check(options, name, report)
    dataset_rules.check_pair(options, datasets, report)
    dataset_rules.check_augmentations(options, datasets, report)
    class_rules.check(options, datasets, report)
    trainer_rules.check(options, report)
    class_weight_rules.check(options, datasets, report)
    trainer_rules.check_evaluator(options, datasets, report)
    naive_student_rules.check(options, report)
    consistency_rules.check(options, report)
    large_list_rules.check(options, report)


def check_dataset(
    descriptor: dataset_descriptor_pb2.DatasetDescriptor, report: Report
) -> None:
    """Adds all problems of a data set descriptor to a report."""
    _check_fields(descriptor, {}, report)
    dataset_rules.check_descriptor(descriptor, report)
    class_rules.check_descriptor(descriptor, report)


def list_dataset_warnings(
    descriptor: dataset_descriptor_pb2.DatasetDescriptor, source: str = ""
) -> list[Problem]:
    """Lists the warnings about a data set descriptor.

    Args:
        descriptor: The descriptor; not changed.
        source: Its name or file, for the messages.
    """
    report = Report({}, source)
    check_dataset(descriptor, report)
    return [p for p in report.problems if p.severity == WARNING]


def may_be_unfilled(holder: Message, field: textproto.Field) -> bool:
    """Returns whether a field may keep an unfilled place-holder.

    Paths and names of experiments may, because the programs that use them call
    `Config.require_filled`. A field that decides what is built may not.
    """
    key = f"{holder.DESCRIPTOR.name}.{field.name}"
    free = isinstance(field_rules.SCALARS.get(key), kinds.Free)
    return free and key != "DatasetOptions.dataset"


def _check_fields(
    message: Message, unfilled: Mapping[str, Sequence[str]], report: Report
) -> None:
    refused: list[str] = []
    for path, holder, field, value in iterate_fields(message):
        if any(path.startswith(f"{prefix}.") for prefix in refused):
            continue
        key = f"{holder.DESCRIPTOR.name}.{field.name}"
        if field.message_type is not None:
            if key in field_rules.REFUSED_MESSAGES:
                refused.append(path)
                _refuse(path, field_rules.REFUSED_MESSAGES[key], report)
            continue
        rule = field_rules.SCALARS[key]
        if path in unfilled and not may_be_unfilled(holder, field):
            continue  # The loader reports it.
        complaint = rule.check(value)
        if complaint:
            report.add(path, value, complaint, _describe_fix(rule))


def _refuse(path: str, system: str, report: Report) -> None:
    report.add(
        path,
        "",
        f"{path} belongs to {system}, which this package does not have",
        "Remove the field, or take a config of another system."
        if path.count(".") == 1
        else "Remove the field.",
    )


def _describe_fix(rule: kinds.Rule) -> str:
    if isinstance(rule, kinds.Refused):
        return "Remove the field."
    return "Correct the value or remove the field to take its default."
