# SPDX-License-Identifier: Apache-2.0
"""Refuses to learn from images without labels that are also scored on.

Images are compared by their decoded pixels, whatever their files.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence

from deeplab2_like import errors
from deeplab2_like.console import progress
from deeplab2_like.data import same_images
from deeplab2_like.data.records import files as record_files
from deeplab2_like.storage import file_identity, large_list_names, user_paths

_MAX_NAMED = 3


@dataclasses.dataclass(frozen=True)
class Texts:
    """How the error of `check_apart` names what the user gave.

    Attributes:
        images: Where the images without labels are.
        evaluated: Where those of evaluation are.
        fix: What to do, a sentence.
    """

    images: str
    evaluated: str
    fix: str


def identify(patterns: Sequence[str]) -> str:
    """Returns a checksum of which files are evaluated; "" for none.

    Files of this machine count with their version. Lists of large images,
    which nothing is compared with, are none.

    Args:
        patterns: Patterns of the split of evaluation.

    Raises:
        DataError: There is no file of a pattern.
    """
    if not patterns or large_list_names.names_lists(patterns):
        return ""
    found = hashlib.sha256()
    for path in record_files.find_files(list(patterns)):
        line = path
        if not user_paths.is_remote(path):
            line = f"{path} {file_identity.describe(path).version}"
        found.update(f"{line}\n".encode("utf-8", "surrogatepass"))
    return found.hexdigest()


def check_apart(
    patterns: Sequence[str],
    find: Callable[[same_images.KnownImages], Sequence[tuple[str, str]]],
    texts: Texts,
    report: progress.Progress,
) -> int:
    """Checks that no image without label is one of evaluation.

    With lists of large images nothing is compared, which is said.

    Args:
        patterns: Patterns of the split of evaluation; at least one.
        find: Function that returns the images that are among those of
            evaluation: name of each here and there.
        texts: Words of the error.
        report: Display of the progress.

    Returns:
        The number of images of evaluation; 0 where nothing is compared.

    Raises:
        DataError: An image is in both, or there are no files of a pattern.
    """
    if large_list_names.names_lists(patterns):
        report.log(
            "warning: images without labels are not compared with the large "
            f"images of {patterns[0]}. None of them must show the same place."
        )
        return 0
    places = same_images.list_records(record_files.find_files(list(patterns)))
    with report.phase(
        "Reading images of evaluation", len(places), unit="images"
    ) as phase:
        known = same_images.KnownImages.read(places, phase.advance)
    found = find(known)
    if found:
        named = ", ".join(
            f"{here!r} (there {there!r})" for here, there in found[:_MAX_NAMED]
        )
        more = f" and {len(found) - _MAX_NAMED} more"
        named += more * (len(found) > _MAX_NAMED)
        noun, verb = ("images", "are") if len(found) > 1 else ("image", "is")
        raise errors.DataError(
            f"The {noun} {named} of {texts.images} {verb} also in "
            f"{texts.evaluated}, so that scores would be of images that were "
            f"learned from. {texts.fix}"
        )
    return len(known.names)
