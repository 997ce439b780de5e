# SPDX-License-Identifier: Apache-2.0
"""Finds images without labels: records, image files or folders."""

import dataclasses
import os
import pathlib

from deeplab2_like import errors
from deeplab2_like.data.records import paths as record_paths
from deeplab2_like.storage import image_decoding, image_files, user_paths

_FIELD = "semi_supervised.unlabeled_pattern"


@dataclasses.dataclass(frozen=True)
class UnlabeledFiles:
    """Files with images without labels, of one of the two kinds.

    Attributes:
        records: Paths of TFRecord files.
        images: Paths of image files.
    """

    records: list[str]
    images: list[str]


def find_unlabeled(pattern: str) -> UnlabeledFiles:
    """Finds the files that a pattern means.

    Args:
        pattern: Pattern of TFRecord files or of image files, or a folder,
            which is searched recursively for images; see
            `user_paths.find_files`. Records may be at an address (gs://...).

    Returns:
        The files, sorted.

    Raises:
        errors.DataError: The pattern matches no file, files of both kinds, or
            a folder without images.
    """
    if user_paths.is_remote(pattern):
        return UnlabeledFiles(record_paths.find_files(pattern), [])
    found = user_paths.find_files(pattern)
    if not found:
        raise errors.DataError(
            f"{_FIELD} is {pattern!r}, which matches no file. Give a folder "
            "with images, or a pattern of image files or TFRecord files."
        )
    is_image = [_is_image(path) for path in found]
    if not any(is_image):
        return UnlabeledFiles(record_paths.find_files(pattern), [])
    if not all(is_image):
        other = found[is_image.index(False)]
        raise errors.DataError(
            f"{_FIELD} is {pattern!r}, which matches the image or folder "
            f"{found[is_image.index(True)]!r} and also {other!r}. Give images "
            "or TFRecord files, not both."
        )
    images = image_files.find_images(found, warn=lambda _: None)
    return UnlabeledFiles([], sorted(str(image.path) for image in images))


def _is_image(path: str) -> bool:
    suffix = pathlib.PurePath(path).suffix.lower()
    return suffix in image_decoding.SUFFIXES or os.path.isdir(path)
