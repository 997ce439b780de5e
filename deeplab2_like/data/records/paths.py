# SPDX-License-Identifier: Apache-2.0
"""Finds record files by patterns, local ones without TensorFlow."""

import os
import re
from collections.abc import Sequence

from deeplab2_like import errors
from deeplab2_like.data.records import tfds_sets
from deeplab2_like.storage import large_list_names, tfds_names, user_paths

SHARD = re.compile(r"^(.*)-(\d{5})-of-(\d{5})(.*)$")


def find_files(patterns: str | Sequence[str]) -> list[str]:
    """Finds the record files of a data set.

    Args:
        patterns: Patterns, each of which must match a file; see
            `user_paths.find_files`. Addresses that `tf.io.gfile` knows
            (gs://...) are allowed, and names of data sets that TensorFlow
            Datasets has prepared (tfds:..., see `tfds_names`).

    Returns:
        The paths, sorted, each once.

    Raises:
        errors.DataError: There is no pattern, or one that matches no file, an
            empty file, a folder or two versions of a split.
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    if not any(patterns):
        raise errors.DataError(
            "There is no file pattern. Set file_pattern in the data set options"
            ' of the config, for example "/data/scenes/train-*.tfrecord".'
        )
    if large_list_names.names_lists(patterns):
        raise errors.DataError(
            f"File pattern {patterns[0]!r} names a list of large images. They "
            "are read by training and evaluation; here records are needed."
        )
    found: set[str] = set()
    for pattern in patterns:
        if tfds_names.is_name(pattern):
            found.update(tfds_sets.find_shards(pattern))
            continue
        if user_paths.is_remote(pattern):
            sizes = _find_remote(pattern)
        else:
            sizes = _find_local(pattern)
        if not sizes:
            raise errors.DataError(
                f"File pattern {pattern!r} matches no file (looked in"
                f" {_describe_folder(pattern)}). Correct it, or write the"
                " records first (data/README.md)."
            )
        folders = [path for path, size in sizes.items() if size is None]
        if folders:
            raise errors.DataError(
                f"File pattern {pattern!r} matches the folder {folders[0]!r}."
                " It must match files: add for example '/train-*.tfrecord'."
            )
        _check_shards(
            {path: size or 0 for path, size in sizes.items()}, pattern
        )
        found.update(sizes)
    return sorted(found)


def _describe_folder(pattern: str) -> str:
    if user_paths.is_remote(pattern):
        return repr(os.path.dirname(pattern))
    return repr(os.path.dirname(os.path.abspath(pattern)))


def _find_local(pattern: str) -> dict[str, int | None]:
    """Returns the sizes of files by path; None for folders."""
    try:
        return {
            path: None if os.path.isdir(path) else os.path.getsize(path)
            for path in user_paths.find_files(user_paths.expand(pattern))
        }
    except OSError as error:
        raise errors.DataError(
            f"File pattern {pattern!r} cannot be looked up: {error.filename!r}:"
            f" {error.strerror}."
        ) from error


def _find_remote(pattern: str) -> dict[str, int | None]:
    """Returns the sizes of files by path; None for folders."""
    import tensorflow as tf  # Local files are found without it.

    try:
        return {
            path: None
            if tf.io.gfile.isdir(path)
            else tf.io.gfile.stat(path).length
            for path in sorted(tf.io.gfile.glob(pattern))
        }
    except tf.errors.OpError as error:
        raise errors.DataError(
            f"File pattern {pattern!r} cannot be looked up: {error.message}."
        ) from error


def _check_shards(sizes: dict[str, int | None], pattern: str) -> None:
    """Raises an error for two versions of one split, and for empty files."""
    counts: dict[str, set[str]] = {}
    for path in sizes:
        match = SHARD.match(path)
        if match:
            counts.setdefault(match[1] + match[4], set()).add(match[3])
    for prefix, totals in counts.items():
        if len(totals) > 1:
            raise errors.DataError(
                f"File pattern {pattern!r} matches {len(totals)} versions of"
                f" {os.path.basename(prefix)!r}: of"
                f" {' and of '.join(sorted(totals))} shards. Remove one"
                " version, or give a pattern that matches one, for example"
                f" '...-of-{max(totals)}...'."
            )
    paths = list(sizes)
    empty = [path for path in paths if sizes[path] == 0]
    # deeplab2 writes n / shards images to a shard, rounded up, so that the last
    # shards can be empty: this is allowed.
    while empty and empty[-1] == paths[-1] and SHARD.match(empty[-1]):
        paths = paths[:-1]
        empty.pop()
    if empty or not paths:
        raise errors.DataError(
            f"File pattern {pattern!r} matches"
            f" {len(empty) or 'only'} empty files (0 bytes)"
            f"{', first ' + repr(empty[0]) if empty else ''}. Write or copy"
            " them again."
        )
