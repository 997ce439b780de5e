# SPDX-License-Identifier: Apache-2.0
"""Warnings about classes that cannot be learned, told apart or numbered."""

from deeplab2_like.config import names
from deeplab2_like.config.report import Report
from deeplab2_like.config.rules import Datasets
from deeplab2_like.config.rules import pyramid as pyramid_rules
from deeplab2_like.protos import (
    config_pb2,
    dataset_descriptor_pb2,
    evaluator_pb2,
    model_pb2,
)

_LABEL_THE_REST = (
    'Label the rest of the images as a class, such as "background" (stuff), '
    "and not as void."
)
_MAX_PNG_CLASS = 255


def check_descriptor(
    descriptor: dataset_descriptor_pb2.DatasetDescriptor, report: Report
) -> None:
    """Adds warnings about a data set descriptor to a report."""
    scored = list_scored(descriptor)
    if len(scored) == 1:
        report.warn(
            "classes",
            "",
            f'"{scored[0]}" is the only class besides void: a semantic head '
            "learns nothing from it, because a softmax over one class is "
            "always right",
            _LABEL_THE_REST,
        )
    for path, color, rule in _find_same_colors(descriptor):
        fix = "Give each class a color of its own."
        report.warn(path, color, rule, fix)


def check(
    options: config_pb2.ExperimentOptions, datasets: Datasets, report: Report
) -> None:
    """Adds warnings about the classes of the data sets; see `rules`."""
    path = "train_dataset_options.dataset"
    descriptor = datasets.get(options.train_dataset_options.dataset)
    if descriptor is not None:
        _check_channels(options.model_options, descriptor, report)
        for _, color, rule in _find_same_colors(descriptor):
            report.warn(
                path,
                descriptor.name,
                f"{rule} ({', '.join(map(str, color))})",
                "Give each class a color of its own in the descriptor.",
            )
    descriptor = datasets.get(options.eval_dataset_options.dataset)
    if descriptor is not None:
        _check_raw_ids(options.evaluator_options, descriptor, report)


def list_scored(
    descriptor: dataset_descriptor_pb2.DatasetDescriptor,
) -> list[str]:
    """Lists the names of the classes that do not stand for void."""
    return [
        entry.name
        for index, entry in enumerate(descriptor.classes)
        if index != descriptor.ignore_label
    ]


def _check_channels(
    model: model_pb2.ModelOptions,
    descriptor: dataset_descriptor_pb2.DatasetDescriptor,
    report: Report,
) -> None:
    """Warns of a semantic softmax that has one channel."""
    kind = model.WhichOneof("meta_architecture")
    if kind in ("panoptic_fpn", "efficientps") and not (
        getattr(model, kind).semantic.enable
    ):
        return
    channels = list_scored(descriptor)
    if pyramid_rules.shares_thing_channel(model):
        things = [c.name for c in descriptor.classes if c.is_thing]
        channels = [name for name in channels if name not in things]
        channels += ["all things together"] if things else []
    if len(channels) != 1:
        return
    report.warn(
        "train_dataset_options.dataset",
        descriptor.name,
        f'"{channels[0]}" is its only class besides void, and a softmax over '
        "one class is always right: the semantic branch learns nothing, and "
        "every pixel of every image is predicted as it",
        _LABEL_THE_REST,
    )


def _find_same_colors(
    descriptor: dataset_descriptor_pb2.DatasetDescriptor,
) -> list[tuple[str, list[int], str]]:
    """Lists path, color and a sentence of classes with another one's color."""
    first: dict[tuple[int, ...], str] = {}
    found = []
    for index, entry in enumerate(descriptor.classes):
        color = tuple(entry.color)
        if not color or index == descriptor.ignore_label:
            continue
        other = first.setdefault(color, entry.name)
        if other != entry.name:
            rule = (
                f'"{other}" and "{entry.name}" have the same color, so '
                f'pictures show "{entry.name}" in another one'
            )
            found.append((f"classes[{index}].color", list(color), rule))
    return found


def _check_raw_ids(
    evaluator: evaluator_pb2.EvaluatorOptions,
    descriptor: dataset_descriptor_pb2.DatasetDescriptor,
    report: Report,
) -> None:
    """Warns of ids that do not fit into the maps of raw predictions."""
    if not evaluator.save_raw_predictions:
        return
    converts = evaluator.convert_raw_to_eval_ids
    ids = [
        entry.category_id
        if converts and entry.HasField("category_id")
        else index
        for index, entry in enumerate(descriptor.classes)
    ]
    if max(ids, default=0) > _MAX_PNG_CLASS:
        report.warn(
            "evaluator_options.save_raw_predictions",
            True,
            f'the data set "{descriptor.name}" has the class id {max(ids)}, '
            f"and maps of classes hold 0 to {_MAX_PNG_CLASS}: the evaluation "
            "will refuse it",
            "Write convert_raw_to_eval_ids: "
            f"{str(not converts).lower()}, if those ids are smaller.",
        )


def check_raw_instances(
    evaluator: evaluator_pb2.EvaluatorOptions,
    most: int,
    field: str,
    report: Report,
) -> None:
    """Warns of more instances than the format of raw predictions can number.

    Args:
        evaluator: After `validation.complete`.
        most: Most instances of one class that an image can be predicted with.
        field: Path of the field that limits them.
        report: Receives the problems.
    """
    form = evaluator.raw_panoptic_format
    limit = names.RAW_PANOPTIC_FORMATS.get(form, most)
    if evaluator.save_raw_predictions and most > limit:
        larger = [
            name
            for name, value in names.RAW_PANOPTIC_FORMATS.items()
            if value >= most
        ]
        report.warn(
            "evaluator_options.raw_panoptic_format",
            form,
            f"it holds {limit} instances of a class in an image, and {most} "
            f"can be predicted ({field}): an image with more of them ends the "
            "evaluation",
            f"Write raw_panoptic_format: {larger[0]}.",
        )
