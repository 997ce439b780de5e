# SPDX-License-Identifier: Apache-2.0
"""Finds TFRecord files, and the records in them by their headers alone.

In reading order: `find_files` (patterns to paths), `scan_file` and
`scan_files` (files to positions of records).
"""

import dataclasses
import os
import re
import sys
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from deeplab2_like import errors

SHARD = re.compile(r"^(.*)-(\d{5})-of-(\d{5})(.*)$")
# A record is: length (uint64), checksum of it (uint32), data, checksum.
_HEADER_BYTES = 12
_FRAME_BYTES = 16


def _check_shards(paths: Sequence[str], pattern: str) -> None:
    """Raises an error for two versions of one split, and for empty files."""
    counts: dict[str, set[str]] = {}
    for path in paths:
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
    empty = [path for path in paths if tf.io.gfile.stat(path).length == 0]
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


def find_files(patterns: str | Sequence[str]) -> list[str]:
    """Finds the record files of a data set.

    Args:
        patterns: Glob patterns, each of which must match a file. Paths that
            `tf.io.gfile` knows (gs://...) are allowed.

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
    found: set[str] = set()
    for pattern in patterns:
        try:
            paths = sorted(tf.io.gfile.glob(pattern))
        except tf.errors.OpError as error:
            raise errors.DataError(
                f"File pattern {pattern!r} cannot be looked up:"
                f" {error.message}."
            ) from error
        if not paths:
            raise errors.DataError(
                f"File pattern {pattern!r} matches no file (looked in"
                f" {os.path.dirname(os.path.abspath(pattern))!r}). Correct it,"
                " or write the records first (data/README.md)."
            )
        folders = [path for path in paths if tf.io.gfile.isdir(path)]
        if folders:
            raise errors.DataError(
                f"File pattern {pattern!r} matches the folder {folders[0]!r}."
                " It must match files: add for example '/train-*.tfrecord'."
            )
        _check_shards(paths, pattern)
        found.update(paths)
    return sorted(found)


@dataclasses.dataclass(frozen=True)
class RecordFile:
    """The positions of the records in a file.

    Attributes:
        path: Path of the file.
        offsets: int64 [N], byte at which each complete record begins.
        lengths: int64 [N], bytes of the data of each complete record.
        problem: Problem after the last complete record; "" if there is none.
    """

    path: str
    offsets: np.ndarray
    lengths: np.ndarray
    problem: str


def _compute_crc_table() -> np.ndarray:
    table: np.ndarray = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> 1) ^ (table & 1) * np.uint32(0x82F63B78)
    return table


def compute_masked_crc(data: np.ndarray) -> np.ndarray:
    """Computes the masked CRC-32C that TFRecord files use.

    Args:
        data: uint8 [N, B], N byte strings of B bytes.

    Returns:
        uint32 [N].
    """
    table = _compute_crc_table()
    crc = np.full(len(data), 0xFFFFFFFF, np.uint32)
    for column in data.T:
        crc = table[(crc ^ column) & 0xFF] ^ (crc >> 8)
    crc ^= np.uint32(0xFFFFFFFF)
    rotated = (crc >> 15) | (crc << 17)
    return (rotated.astype(np.uint64) + 0xA282EAD8).astype(np.uint32)


def _read_headers(
    path: str, max_records: int
) -> tuple[list[int], list[bytes], int, int]:
    """Reads the headers of records.

    Returns:
        Offsets and headers of the complete records, the byte at which the last
        of them ends, and the size of the file in bytes.
    """
    offsets: list[int] = []
    headers: list[bytes] = []
    offset = 0
    if "://" in path:
        size = tf.io.gfile.stat(path).length
        stream = tf.io.gfile.GFile(path, "rb")
    else:
        size = os.path.getsize(path)
        stream = open(path, "rb", buffering=0)  # noqa: SIM115
    with stream:
        while offset + _FRAME_BYTES <= size and len(offsets) < max_records:
            stream.seek(offset)
            header = stream.read(_HEADER_BYTES)
            end = offset + _FRAME_BYTES + int.from_bytes(header[:8], "little")
            if end > size:
                break
            offsets.append(offset)
            headers.append(header)
            offset = end
    return offsets, headers, offset, size


def scan_file(path: str, *, max_records: int | None = None) -> RecordFile:
    """Finds the records of a file by their headers, without their data.

    Args:
        path: A TFRecord file, not compressed.
        max_records: Number of records to stop after; None: all.

    Returns:
        The complete records. `problem` is set where the file ends inside a
        record or contains something else than records.

    Raises:
        errors.DataError: The file cannot be read.
    """
    try:
        offsets, headers, end, size = _read_headers(
            path, sys.maxsize if max_records is None else max_records
        )
    except (OSError, tf.errors.OpError) as error:
        raise errors.DataError(f"Cannot read {path!r}: {error}.") from error
    frames = np.frombuffer(b"".join(headers), np.uint8)
    frames = frames.reshape(-1, _HEADER_BYTES)
    stored = np.ascontiguousarray(frames[:, 8:]).view("<u4").reshape(-1)
    is_good = stored == compute_masked_crc(frames[:, :8])
    count = len(offsets) if is_good.all() else int(np.argmin(is_good))
    problem = ""
    if count < len(offsets):
        problem = f"damaged at byte {offsets[count]}"
    elif end < size and count != max_records:
        problem = f"cut off in the record at byte {end}"
    if problem:
        problem = f"{path!r} has {count} good records and is then {problem}"
        if not count:
            problem = (
                f"{path!r} is not a TFRecord file, or its first record is"
                " damaged or compressed"
            )
    lengths = np.ascontiguousarray(frames[:count, :8]).view("<i8").reshape(-1)
    return RecordFile(
        path, np.array(offsets[:count], np.int64), lengths, problem
    )


def scan_files(
    paths: Sequence[str], *, on_damage: str = "fail"
) -> list[RecordFile]:
    """Scans several files; see `scan_file`.

    Args:
        paths: Paths of the files.
        on_damage: "fail" raises an error for a damaged file, "skip" leaves out
            what follows the damage.

    Returns:
        One entry for each file.

    Raises:
        errors.DataError: A file is damaged, or there is no record at all.
        ValueError: `on_damage` is neither "fail" nor "skip".
    """
    if on_damage not in ("fail", "skip"):
        raise ValueError(f"on_damage is {on_damage!r}, not 'fail' or 'skip'.")
    files = [scan_file(path) for path in paths]
    damaged = [file for file in files if file.problem]
    if damaged and on_damage == "fail":
        raise errors.DataError(
            f"{damaged[0].problem}"
            + (f" ({len(damaged)} such files)" if len(damaged) > 1 else "")
            + ". Write or copy it again."
        )
    if not sum(len(file.offsets) for file in files):
        raise errors.DataError(
            f"There is no record in {len(files)} files, first {paths[0]!r}."
        )
    return files
