# SPDX-License-Identifier: Apache-2.0
"""Checks of images without labels before a training."""

from collections.abc import Sequence

from deeplab2_like import errors
from deeplab2_like.checkpoints import presence
from deeplab2_like.config.rules import consistency as consistency_rules
from deeplab2_like.console import progress
from deeplab2_like.data import same_images, unlabeled_files
from deeplab2_like.data.records import files as record_files
from deeplab2_like.protos import config_pb2

_MAX_NAMED = 3


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

    Images are compared by their decoded pixels. Without records of evaluation
    nothing is compared.

    Args:
        options: The config.
        places: Where the images without labels are.
        report: Display of the progress.

    Raises:
        DataError: An image is in both, or there are no records of evaluation
            where the config says.
    """
    evaluated = options.eval_dataset_options.file_pattern
    if not any(evaluated):
        return
    others = same_images.list_records(record_files.find_files(evaluated))
    with report.phase(
        "Reading images of evaluation", len(others), unit="images"
    ) as phase:
        known = same_images.KnownImages.read(others, phase.advance)
    with report.phase(
        "Comparing images without labels", len(places), unit="images"
    ) as phase:
        found = known.find(places, phase.advance)
    if not found:
        return
    pattern = options.semi_supervised.unlabeled_pattern
    named = ", ".join(repr(name) for name, _ in found[:_MAX_NAMED])
    more = f" and {len(found) - _MAX_NAMED} more" * (len(found) > _MAX_NAMED)
    noun, verb = ("images", "are") if len(found) > 1 else ("image", "is")
    raise errors.DataError(
        f"The {noun} {named}{more} of semi_supervised.unlabeled_pattern "
        f"{pattern!r} {verb} also in eval_dataset_options.file_pattern (there "
        f"{found[0][1]!r}), so that scores would be of images that were "
        "trained on. Remove them from one of the two."
    )
