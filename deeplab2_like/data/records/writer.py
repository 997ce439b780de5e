# SPDX-License-Identifier: Apache-2.0
"""Writes shards of records, and the MANIFEST.sha256 beside them.

In reading order: `compute_shard_sizes`, the manifest (`read_manifest`,
`find_manifest_problems`, `update_manifest`), `write_shards`.
"""

import hashlib
import itertools
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.data.records import files as record_files
from deeplab2_like.storage import whole_files

MANIFEST = "MANIFEST.sha256"


def compute_shard_sizes(num_examples: int, num_shards: int) -> list[int]:
    """Computes how many examples each shard gets.

    n / shards rounded up for each but the last, as deeplab2 does; where that
    would leave shards without an example, sizes that differ by one at most.

    Args:
        num_examples: >= 1.
        num_shards: >= 1; of more shards than examples the rest is left out.

    Returns:
        The sizes, each >= 1, which add up to `num_examples`.
    """
    num_shards = min(num_shards, num_examples)
    size = -(-num_examples // num_shards)
    last = num_examples - size * (num_shards - 1)
    if last >= 1:
        return [size] * (num_shards - 1) + [last]
    small, more = divmod(num_examples, num_shards)
    return [small + 1] * more + [small] * (num_shards - more)


def read_manifest(folder: str) -> dict[str, str]:
    """Reads MANIFEST.sha256.

    Args:
        folder: Where the shards are.

    Returns:
        {file name: sha256}; empty where there is no manifest.
    """
    path = os.path.join(folder, MANIFEST)
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as stream:
        lines = [line.split(maxsplit=1) for line in stream if line.strip()]
    return {name.strip().lstrip("*"): digest for digest, name in lines}


def compute_sha256(path: str) -> str:
    """Computes the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def find_manifest_problems(folder: str) -> list[str]:
    """Compares the shards of a folder with its MANIFEST.sha256.

    Args:
        folder: Where the shards are.

    Returns:
        One sentence for each file that is missing or differs.
    """
    problems = []
    for name, digest in read_manifest(folder).items():
        path = os.path.join(folder, name)
        if not os.path.exists(path):
            problems.append(f"{path!r} is in {MANIFEST} but not there.")
        elif compute_sha256(path) != digest:
            problems.append(
                f"{path!r} differs from its checksum in {MANIFEST}: it was"
                " damaged or replaced after it was written."
            )
    return problems


def update_manifest(
    folder: str, digests: Mapping[str, str], dropped: Collection[str] = ()
) -> None:
    """Adds shards to MANIFEST.sha256.

    Args:
        folder: Where the shards are.
        digests: SHA-256 by file name.
        dropped: File names of shards that are gone.
    """
    manifest = read_manifest(folder)
    entries = {name: manifest[name] for name in manifest if name not in dropped}
    entries |= digests
    lines = [f"{entries[name]}  {name}\n" for name in sorted(entries)]
    whole_files.write_text(os.path.join(folder, MANIFEST), "".join(lines))


def name_shards(split: str, num_shards: int) -> list[str]:
    """Returns the names of the files of a split."""
    return [
        f"{split}-{index:05d}-of-{num_shards:05d}.tfrecord"
        for index in range(num_shards)
    ]


def find_shards(folder: str, split: str) -> list[str]:
    """Returns the names of the shards of a split that are in a folder."""
    shard = re.compile(re.escape(split) + r"-\d{5}-of-\d{5}\.tfrecord")
    return [
        name for name in sorted(os.listdir(folder)) if shard.fullmatch(name)
    ]


def _write_partial(
    records: Iterator[bytes], sizes: Sequence[int], paths: Sequence[str]
) -> None:
    for path, size in zip(paths, sizes, strict=True):
        try:
            with tf.io.TFRecordWriter(path) as writer:
                for record in itertools.islice(records, size):
                    writer.write(record)
        except tf.errors.OpError as error:
            raise errors.DataError(
                f"Cannot write {path!r}: {error.message}."
            ) from error
    if next(records, None) is not None:
        raise ValueError("There are more records than num_examples.")
    written = sum(len(record_files.scan_file(path).offsets) for path in paths)
    if written != sum(sizes):
        raise ValueError(f"Expected {sum(sizes)} records, got {written}.")


def write_shards(
    records: Iterable[bytes],
    num_examples: int,
    folder: str,
    split: str,
    num_shards: int,
    *,
    overwrite: bool = False,
) -> list[str]:
    """Writes `<split>-00000-of-0000N.tfrecord` ... and MANIFEST.sha256.

    Nothing is in place before all of it is written: an error leaves the folder
    as it was.

    Args:
        records: Serialized examples, in the order in which they are kept.
        num_examples: How many.
        folder: Made when it does not exist.
        split: "train", "val" ...
        num_shards: See `compute_shard_sizes`.
        overwrite: Whether older shards of the split are replaced.

    Returns:
        The paths of the shards.

    Raises:
        errors.DataError: No example, no shard, or older shards of the split.
    """
    if num_examples < 1 or num_shards < 1:
        raise errors.DataError(
            f"Cannot write {num_examples} examples to {num_shards} shards of"
            f" {split!r}: both must be at least 1."
        )
    os.makedirs(folder, exist_ok=True)
    old = find_shards(folder, split)
    if old and not overwrite:
        raise errors.DataError(
            f"{folder!r} has {len(old)} shards of {split!r} already, first"
            f" {old[0]!r}. Choose another folder, or add --overwrite."
        )
    sizes = compute_shard_sizes(num_examples, num_shards)
    names = name_shards(split, len(sizes))
    paths = [os.path.join(folder, name) for name in names]
    replaced = [os.path.join(folder, name) for name in old]
    with whole_files.WholeFiles(paths, replaced=replaced) as partials:
        written = [str(path) for path in partials]
        _write_partial(iter(records), sizes, written)
        digests = [compute_sha256(path) for path in written]
    update_manifest(folder, dict(zip(names, digests, strict=True)), old)
    return paths
