# SPDX-License-Identifier: Apache-2.0
"""Finds the images that can be labelled, and says what is left out."""

import os
import pathlib
from collections.abc import Sequence

from deeplab2_like import errors
from deeplab2_like.console import progress
from deeplab2_like.naive_student import held_out, unlabeled
from deeplab2_like.naive_student.label_options import LabelOptions
from deeplab2_like.predict import models
from deeplab2_like.predict.options import PredictOptions


def find(
    facts: models.Facts,
    inputs: Sequence[str | os.PathLike[str]],
    options: LabelOptions,
    predict_options: PredictOptions,
    *,
    frames: pathlib.Path,
    report: progress.Progress,
) -> tuple[list[unlabeled.UnlabeledImage], list[unlabeled.Failure]]:
    """Finds the images that can be labelled.

    Args:
        facts: The model.
        inputs: See `predict.inputs.find_inputs`.
        options: How images are labelled.
        predict_options: How images are turned, and which frames of videos are
            taken.
        frames: Folder for the frames of videos.
        report: Display of the progress.

    Returns:
        The images, and what was left out because it is damaged.

    Raises:
        DataError: There is no image, none that can be read, or one that is
            also in the validation set.
        InstallError: A video is given, and PyAV is not installed.
    """
    found, failures = unlabeled.find_images(
        inputs,
        predict_options,
        frames,
        max_pixels=facts.max_pixels,
        warn=report.log,
    )
    with report.phase("Reading images", len(found), unit="images") as phase:
        images, digests, damaged = unlabeled.check_images(found, phase.advance)
    failures += damaged
    if not images:
        first = failures[0].problem if failures else "There is no record."
        raise errors.DataError(f"No image can be labelled. {first}")
    for failure in failures:
        report.log(f"Left out: {failure.problem}")
    patterns = _find_val_patterns(facts, options, report)
    if patterns:
        count = held_out.check(images, digests, patterns)
        report.log(
            f"None of the {len(images)} images is among the {count} of "
            f"{', '.join(patterns)}."
        )
    return images, failures


def _find_val_patterns(
    facts: models.Facts, options: LabelOptions, report: progress.Progress
) -> list[str]:
    """Returns the records of the validation set; [] if not known."""
    if options.val_patterns is not None:
        return list(options.val_patterns)
    found: list[str] = []
    if facts.config is not None:
        is_filled = not any(
            path.startswith("eval_dataset_options.file_pattern")
            for path in facts.config.unfilled
        )
        if is_filled:
            data = facts.config.options.eval_dataset_options
            found = list(data.file_pattern)
    if not found:
        report.log(
            "warning: the images are not compared with the validation set, "
            "which the model does not name. Give it by --val_pattern."
        )
    return found
