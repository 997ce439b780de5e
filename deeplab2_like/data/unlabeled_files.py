# SPDX-License-Identifier: Apache-2.0
"""Finds images without labels: records, image files or folders."""

import dataclasses
import os
import pathlib

from deeplab2_like import errors
from deeplab2_like.data.records import paths as record_paths
from deeplab2_like.storage import (
    image_decoding,
    image_files,
    tfds_names,
    user_paths,
)

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


def check_name(pattern: str, *, allows_address: bool) -> None:
    """Refuses what is no pattern of files.

    Args:
        pattern: Value of the field.
        allows_address: Whether addresses (gs://...) are read.

    Raises:
        errors.DataError: It names a data set of TensorFlow Datasets, or is an
            address that is not read.
    """
    if tfds_names.is_name(pattern):
        raise errors.DataError(
            f"{_FIELD} is {pattern!r}, a data set of TensorFlow Datasets, "
            "which is read with labels only. Give a folder with images, or a "
            "pattern of image files or TFRecord files."
        )
    if user_paths.is_remote(pattern) and not allows_address:
        raise errors.DataError(
            f"{_FIELD} is {pattern!r}, an address. Method NAIVE_STUDENT labels "
            "local files: copy them to this machine, or mount the bucket, and "
            "give their path."
        )


def find_unlabeled(pattern: str) -> UnlabeledFiles:
    """Finds the files that a pattern means.

    Args:
        pattern: Pattern of TFRecord files or of image files, or a folder,
            which is searched recursively for images; see
            `user_paths.find_files`. Records, whose files may have any name,
            may be at an address (gs://...).

    Returns:
        The files, sorted.

    Raises:
        errors.DataError: The pattern matches no file, files of both kinds, or
            a folder without images; or see `check_name`.
    """
    check_name(pattern, allows_address=True)
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
