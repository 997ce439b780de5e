# SPDX-License-Identifier: Apache-2.0
"""Finds the records in TFRecord files by the headers of records alone.

In reading order: `scan_file` and `scan_files` (files to positions of records).
`find_files` (patterns to paths) is from `paths`, which needs no TensorFlow.
"""

import dataclasses
import os
import sys
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.data.records.paths import SHARD, find_files
from deeplab2_like.storage import user_paths

__all__ = [
    "SHARD",
    "RecordFile",
    "compute_masked_crc",
    "find_files",
    "scan_file",
    "scan_files",
]

# A record is: length (uint64), checksum of it (uint32), data, checksum.
_HEADER_BYTES = 12
_FRAME_BYTES = 16


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
    if user_paths.is_remote(path):
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
