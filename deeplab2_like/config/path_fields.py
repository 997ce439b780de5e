# SPDX-License-Identifier: Apache-2.0
"""The paths in a config: `~` is replaced, unusable ones are reported.

A data set of TensorFlow Datasets without a split gets the one of its place.
"""

import os

from google.protobuf.message import Message

from deeplab2_like.config.report import Report, assign, iterate_fields
from deeplab2_like.storage import tfds_names, user_paths

_DATASET = "DatasetOptions.dataset"
_FILE_PATTERN = "DatasetOptions.file_pattern"
_PATHS = {
    _DATASET,
    _FILE_PATTERN,
    "DatasetOptions.mixed_file_pattern",
    "EvaluatorOptions.override_save_dir",
    "NaiveStudentOptions.ignore_mask",
    "SemiSupervisedOptions.unlabeled_pattern",
}
_CHECKPOINTS = {
    "ModelOptions.initial_checkpoint",
    "NaiveStudentOptions.student_initial_checkpoint",
}


def expand(options: Message, report: Report) -> None:
    """Replaces `~` in all paths of a message, in place.

    Args:
        options: Any message, whose place-holders were filled; is changed.
        report: Receives the problems.
    """
    for path, holder, field, value in iterate_fields(options):
        key = f"{holder.DESCRIPTOR.name}.{field.name}"
        if key not in _PATHS | _CHECKPOINTS:
            continue
        problem = user_paths.find_problem(value)
        if not problem and key in _CHECKPOINTS:
            problem = user_paths.find_checkpoint_problem(value)
        if problem:
            if key != _DATASET:  # The loader looks for it, and reports it.
                report.add(path, value, f"it {problem}")
            continue
        value = os.path.expanduser(value)
        if key == _FILE_PATTERN:
            is_eval = path.startswith("eval_")
            split = tfds_names.VALIDATION if is_eval else tfds_names.TRAIN
            value = tfds_names.add_split(value, split)
        assign(path, holder, field, value)
