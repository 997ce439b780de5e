# SPDX-License-Identifier: Apache-2.0
"""Checks of images without labels before a training."""

from collections.abc import Sequence

from deeplab2_like.checkpoints import presence
from deeplab2_like.config.rules import consistency as consistency_rules
from deeplab2_like.console import progress
from deeplab2_like.data import held_out, same_images, unlabeled_files
from deeplab2_like.protos import config_pb2


def check_new_run(
    options: config_pb2.ExperimentOptions,
    model_dir: str,
    report: progress.Progress,
) -> None:
    """Checks the images without labels of a training that begins.

    A training that continues, or that uses no such images, is not checked.

    Args:
        options: The config.
        model_dir: The model folder.
        report: Display of the progress.

    Raises:
        DataError: See `check_apart`.
    """
    if not consistency_rules.uses_consistency(options):
        return
    if presence.may_hold(model_dir):
        return
    files = unlabeled_files.find_unlabeled(
        options.semi_supervised.unlabeled_pattern
    )
    if files.images:
        places = same_images.list_files(files.images)
    else:
        places = same_images.list_records(files.records)
    check_apart(options, places, report)


def check_apart(
    options: config_pb2.ExperimentOptions,
    places: Sequence[same_images.Place],
    report: progress.Progress,
) -> None:
    """Checks that no image without label is one of evaluation.

    Without a split of evaluation nothing is compared.

    Args:
        options: The config.
        places: Where the images without labels are.
        report: Display of the progress.

    Raises:
        DataError: See `held_out.check_apart`.
    """
    evaluated = options.eval_dataset_options.file_pattern
    if not any(evaluated):
        return
    pattern = options.semi_supervised.unlabeled_pattern

    def find(known: same_images.KnownImages) -> list[tuple[str, str]]:
        with report.phase(
            "Comparing images without labels", len(places), unit="images"
        ) as phase:
            return known.find(places, phase.advance)

    held_out.check_apart(
        evaluated,
        find,
        held_out.Texts(
            f"semi_supervised.unlabeled_pattern {pattern!r}",
            "eval_dataset_options.file_pattern",
            "Remove them from one of the two.",
        ),
        report,
    )
