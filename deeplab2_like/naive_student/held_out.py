# SPDX-License-Identifier: Apache-2.0
"""Refuses images that are also scored on.

A teacher that labels images of the validation set would let its students learn
from them. Images are compared by their decoded pixels.
"""

import hashlib
from collections.abc import Sequence

from deeplab2_like import errors
from deeplab2_like.console import progress
from deeplab2_like.data import same_images
from deeplab2_like.data.records import files as record_files
from deeplab2_like.naive_student import unlabeled
from deeplab2_like.storage import file_identity, user_paths

_MAX_NAMED = 3


def identify(patterns: Sequence[str]) -> str:
    """Returns a checksum of which files a validation set has; "" for none.

    Files of this machine count with size and time.

    Args:
        patterns: Glob patterns of the TFRecord files.

    Raises:
        DataError: There is no file of a pattern.
    """
    if not patterns:
        return ""
    found = hashlib.sha256()
    for path in record_files.find_files(list(patterns)):
        line = path
        if not user_paths.is_remote(path):
            line = f"{path} {file_identity.describe(path).version}"
        found.update(f"{line}\n".encode("utf-8", "surrogatepass"))
    return found.hexdigest()


def check(
    images: Sequence[unlabeled.UnlabeledImage],
    digests: Sequence[bytes],
    patterns: Sequence[str],
    report: progress.Progress,
) -> int:
    """Checks that no image is also in the validation set.

    Args:
        images: Images that are to be labelled.
        digests: Digest of each.
        patterns: Glob patterns of the TFRecord files of the validation set.
        report: Display of the progress.

    Returns:
        The number of images that were compared with.

    Raises:
        DataError: There are such images, or no file of that pattern.
    """
    places = same_images.list_records(record_files.find_files(list(patterns)))
    with report.phase(
        "Reading the validation set", len(places), unit="images"
    ) as phase:
        known = same_images.KnownImages.read(places, phase.advance).names
    twins = [
        (image.origin, known[digest])
        for image, digest in zip(images, digests, strict=True)
        if digest in known
    ]
    if twins:
        shown = ", ".join(
            f"{origin} (there {name!r})" for origin, name in twins[:_MAX_NAMED]
        )
        more = ""
        if len(twins) > _MAX_NAMED:
            more = f" and {len(twins) - _MAX_NAMED} more"
        raise errors.DataError(
            f"{len(twins)} of the images are also in the validation set "
            f"{', '.join(patterns)}: {shown}{more}. Students would learn from "
            "what they are scored on: remove them from the images, or give "
            "the right set by --val_pattern."
        )
    return len(known)
