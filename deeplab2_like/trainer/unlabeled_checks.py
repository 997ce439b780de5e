# SPDX-License-Identifier: Apache-2.0
"""Checks of images without labels before a training."""

import os
from collections.abc import Collection, Iterator, Sequence

import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.data import unlabeled_files
from deeplab2_like.data.records import features as record_features
from deeplab2_like.data.records import files as record_files
from deeplab2_like.data.records import headers as record_headers
from deeplab2_like.protos import config_pb2
from deeplab2_like.semi_supervised import overlap
from deeplab2_like.storage import image_files

_MAX_NAMED = 3


def check_apart(options: config_pb2.ExperimentOptions) -> None:
    """Checks that no image without label is one of evaluation.

    Equal are files with the same bytes. Without records of evaluation nothing
    is compared.

    Args:
        options: The config, with images without labels.

    Raises:
        DataError: An image is in both, or files are damaged.
    """
    evaluated = options.eval_dataset_options.file_pattern
    if not any(evaluated):
        return
    pattern = options.semi_supervised.unlabeled_pattern
    files = unlabeled_files.find_unlabeled(pattern)
    others = list(_read_records(record_files.find_files(evaluated)))
    sizes = {len(content) for _, content in others}
    if files.images:
        images = _read_files(files.images, sizes)
    else:
        images = _read_records(files.records)
    found = overlap.find_duplicates(images, others)
    if not found:
        return
    named = ", ".join(repr(name) for name, _ in found[:_MAX_NAMED])
    more = f" and {len(found) - _MAX_NAMED} more" * (len(found) > _MAX_NAMED)
    noun, verb = ("images", "are") if len(found) > 1 else ("image", "is")
    raise errors.DataError(
        f"The {noun} {named}{more} of semi_supervised.unlabeled_pattern "
        f"{pattern!r} {verb} also in eval_dataset_options.file_pattern (there "
        f"{found[0][1]!r}), so that scores would be of images that were "
        "trained on. Remove them from one of the two."
    )


def _read_files(
    paths: Sequence[str], sizes: Collection[int]
) -> Iterator[tuple[str, bytes]]:
    """Reads the image files whose number of bytes is one of `sizes`."""
    for path in paths:
        if os.path.getsize(path) in sizes:
            yield path, image_files.read_file(path)


def _read_records(paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Reads name and encoded image of all records."""
    for file in record_files.scan_files(paths, on_damage="skip"):
        for offset, length in zip(file.offsets, file.lengths, strict=True):
            serialized = record_headers.read_record(
                file.path, int(offset), int(length)
            )
            name, content = _parse(serialized)
            if content:
                yield name, content


def _parse(serialized: bytes) -> tuple[str, bytes]:
    try:
        parsed = record_features.parse_example(serialized)
    except tf.errors.OpError:
        return "", b""  # Reading it for training or evaluation reports it.
    return parsed["name"].numpy().decode(), parsed["image"].numpy()
