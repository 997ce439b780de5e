# SPDX-License-Identifier: Apache-2.0
"""Rules for splits whose file_pattern names lists of large images."""

from typing import Any

from deeplab2_like.config.report import Report
from deeplab2_like.protos import config_pb2, dataset_pb2, trainer_pb2
from deeplab2_like.storage import large_list_names

_TRAIN = "train_dataset_options"
_EVAL = "eval_dataset_options"
_WHY_SIZE = "windows and tiles of large images have the size of the file"


def check(options: config_pb2.ExperimentOptions, report: Report) -> None:
    """Adds what does not go with large images to a report; see `rules`."""
    for name in (_TRAIN, _EVAL):
        split = getattr(options, name)
        if large_list_names.names_lists(split.file_pattern):
            _check_split(split, name, report)
    if large_list_names.names_lists(options.train_dataset_options.file_pattern):
        _check_training(options, report)
    if large_list_names.names_lists(options.eval_dataset_options.file_pattern):
        _check_evaluation(options, report)


def _check_split(
    split: dataset_pb2.DatasetOptions, name: str, report: Report
) -> None:
    for index, pattern in enumerate(split.file_pattern):
        if pattern and not large_list_names.is_list(pattern):
            report.add(
                f"{name}.file_pattern[{index}]",
                repr(pattern),
                "others are lists of large images, and a split has one kind",
                "Remove the records, or the lists.",
            )
    for field in ("min_resize_value", "max_resize_value"):
        if any(getattr(split, field)):
            values = list(getattr(split, field))
            _refuse(report, f"{name}.{field}", values, _WHY_SIZE)
    if split.HasField("resize_factor"):
        path = f"{name}.resize_factor"
        _refuse(report, path, split.resize_factor, _WHY_SIZE)
    if split.input_scale_factor != 1:
        path = f"{name}.input_scale_factor"
        _refuse(report, path, split.input_scale_factor, _WHY_SIZE)


def _check_training(
    options: config_pb2.ExperimentOptions, report: Report
) -> None:
    split = options.train_dataset_options
    if split.mixed_file_pattern:
        _refuse(
            report,
            f"{_TRAIN}.mixed_file_pattern",
            list(split.mixed_file_pattern),
            "windows of large images are not mixed with records",
        )
    if split.on_damage == dataset_pb2.SKIP:
        _refuse(
            report,
            f"{_TRAIN}.on_damage",
            "SKIP",
            "damaged parts of large images are void, the rest is used",
        )
    if split.data_service_address:
        _refuse(
            report,
            f"{_TRAIN}.data_service_address",
            repr(split.data_service_address),
            "large images are read by the program that trains",
        )
    loss = options.trainer_options.loss_options.semantic_loss
    kinds = trainer_pb2.LossOptions.SingleLossOptions.ClassBalance
    if loss.balance != kinds.Value("NONE"):
        _refuse(
            report,
            "trainer_options.loss_options.semantic_loss.balance",
            kinds.Name(loss.balance),
            "pixels of classes are counted in records only",
        )


def _check_evaluation(
    options: config_pb2.ExperimentOptions, report: Report
) -> None:
    split = options.eval_dataset_options
    crop = list(split.crop_size)
    if len({*crop}) > 1:
        report.add(
            f"{_EVAL}.crop_size",
            crop,
            "it is the size of the tiles of large images, which are square",
            f"Write crop_size: [{max(crop)}, {max(crop)}].",
        )
    if not split.decode_groundtruth_label:
        _refuse(
            report,
            f"{_EVAL}.decode_groundtruth_label",
            "false",
            "large images without labels are predicted by deeplab2-predict "
            "--tile",
        )
    evaluator = options.evaluator_options
    for field in ("save_predictions", "save_raw_predictions"):
        if getattr(evaluator, field):
            report.warn(
                f"evaluator_options.{field}",
                "true",
                "predictions of large images are not saved",
                "Remove it; deeplab2-predict --tile writes them.",
            )


def _refuse(report: Report, path: str, value: Any, rule: str) -> None:
    report.add(path, value, rule, "Remove the field.")
