# SPDX-License-Identifier: Apache-2.0
"""The paths in a config: `~` is replaced, unusable ones are reported."""

import os

from google.protobuf.message import Message

from deeplab2_like.config.report import Report, assign, iterate_fields
from deeplab2_like.storage import user_paths

_DATASET = "DatasetOptions.dataset"
_PATHS = {
    _DATASET,
    "DatasetOptions.file_pattern",
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
        assign(path, holder, field, os.path.expanduser(value))
