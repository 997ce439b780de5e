# SPDX-License-Identifier: Apache-2.0
"""Checks, before anything is evaluated, that a report can be made."""

from deeplab2_like import errors
from deeplab2_like.reports import evaluation, installation


def check(compare_with: str, *, has_labels: bool) -> None:
    """Checks that a report can be made.

    Args:
        compare_with: Folder of another run to compare with; "" for none.
        has_labels: Whether the images have labels.

    Raises:
        ConfigError: There is nothing to report, or no numbers of the run to
            compare with.
        DataError: Those numbers are damaged.
        InstallError: The package Jinja2 is not installed.
    """
    if not has_labels:
        raise errors.ConfigError(
            "--report needs labels, and eval_dataset_options."
            "decode_groundtruth_label is false. Leave out --report and "
            "--compare_with, or evaluate images with labels."
        )
    installation.check()
    if compare_with:
        evaluation.load_evaluation(compare_with)
