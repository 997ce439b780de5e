# SPDX-License-Identifier: Apache-2.0
"""Finds the images that can be labelled, and says what is left out."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

from deeplab2_like import errors
from deeplab2_like.console import progress
from deeplab2_like.data import held_out
from deeplab2_like.naive_student import unlabeled
from deeplab2_like.naive_student.label_options import LabelOptions
from deeplab2_like.predict import models
from deeplab2_like.predict.options import PredictOptions


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Images that are to be labelled.

    Attributes:
        images: The images, not decoded yet.
        failures: What of records and videos cannot be read.
        val_patterns: Records of the validation set; () if not known.
        compared_with: Checksum of the files of the validation set.
    """

    images: Sequence[unlabeled.UnlabeledImage]
    failures: Sequence[unlabeled.Failure]
    val_patterns: Sequence[str]
    compared_with: str


def find(
    facts: models.Facts,
    inputs: Sequence[str | os.PathLike[str]],
    options: LabelOptions,
    predict_options: PredictOptions,
    *,
    frames: pathlib.Path,
    report: progress.Progress,
) -> Candidates:
    """Finds the images that are to be labelled, without decoding any.

    Args:
        facts: The model.
        inputs: See `predict.inputs.find_inputs`.
        options: How images are labelled.
        predict_options: How images are turned, and which frames of videos are
            taken.
        frames: Folder for the frames of videos.
        report: Display of the progress.

    Raises:
        DataError: There is no image, two have the same name, or there is no
            such validation set.
        InstallError: A video is given, and PyAV is not installed.
    """
    patterns = _find_val_patterns(facts, options, report)
    compared_with = held_out.identify(patterns)
    images, failures = unlabeled.find_images(
        inputs,
        predict_options,
        frames,
        max_pixels=facts.max_pixels,
        warn=report.log,
    )
    return Candidates(images, failures, patterns, compared_with)


def check(
    found: Candidates, report: progress.Progress
) -> tuple[list[unlabeled.UnlabeledImage], list[unlabeled.Failure]]:
    """Finds the images that can be labelled, by decoding them.

    Args:
        found: The result of `find`.
        report: Display of the progress.

    Returns:
        The images, and what was left out because it is damaged.

    Raises:
        DataError: No image can be read, or one is also in the validation set.
    """
    with report.phase(
        "Reading images", len(found.images), unit="images"
    ) as phase:
        images, digests, damaged = unlabeled.check_images(
            found.images, phase.advance
        )
    failures = [*found.failures, *damaged]
    if not images:
        first = failures[0].problem if failures else "There is no record."
        raise errors.DataError(f"No image can be labelled. {first}")
    for failure in failures:
        report.log(f"Left out: {failure.problem}")
    if found.val_patterns:
        _check_apart(images, digests, found.val_patterns, report)
    return images, failures


def _check_apart(
    images: Sequence[unlabeled.UnlabeledImage],
    digests: Sequence[bytes],
    patterns: Sequence[str],
    report: progress.Progress,
) -> None:
    where = ", ".join(patterns)
    count = held_out.check_apart(
        patterns,
        lambda known: [
            (image.origin, known.names[digest])
            for image, digest in zip(images, digests, strict=True)
            if digest in known.names
        ],
        held_out.Texts(
            "those to label",
            f"the validation set {where}",
            "Remove them from the images, or give the right set by "
            "--val_pattern.",
        ),
        report,
    )
    if count:
        report.log(
            f"None of the {len(images)} images is among the {count} of {where}."
        )


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
