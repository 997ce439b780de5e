# SPDX-License-Identifier: Apache-2.0
"""Removes summaries of steps that a run does again.

A run that was killed has written summaries of steps after its last checkpoint.
When it continues it writes them once more, and TensorBoard would show both.
"""

import os
import pathlib
import re
import socket
from collections.abc import Callable

import tensorflow as tf
from absl import logging

_PATTERN = "events.out.tfevents.*"
# events.out.tfevents.<time>.<host>.<process>.<number>.v2
_WRITER = re.compile(r"events\.out\.tfevents\.\d+\.(.+)\.(\d+)\.\d+\.v2$")
# Not a name that TensorBoard reads.
_PARTIAL = ".summaries.partial"


def remove_steps(
    folder: str | os.PathLike[str],
    is_removed: Callable[[int], bool],
    *,
    is_shared: bool = False,
) -> int:
    """Removes summaries from the event files of a folder.

    Files that cannot be written are left alone. What follows damage in a file,
    as at the end of one whose process was killed, is removed with summaries.

    Args:
        folder: Folder of event files; it need not exist.
        is_removed: Function that returns whether the summaries of a step are
            removed.
        is_shared: Whether other processes may write there, too. Files of those
            that still run on this machine are left alone.

    Returns:
        Number of removed summaries.
    """
    count = 0
    for path in sorted(pathlib.Path(folder).glob(_PATTERN)):
        if is_shared and _is_in_use(path.name):
            continue
        try:
            count += _rewrite(path, is_removed)
        except (OSError, tf.errors.OpError) as error:
            logging.warning("The summaries in %s stay: %s", path, error)
    return count


def _rewrite(path: pathlib.Path, is_removed: Callable[[int], bool]) -> int:
    """Rewrites a file without some events, or deletes it if none are left."""
    kept: list[bytes] = []
    count = 0
    has_values = False
    for record in _read(path):
        event = tf.compat.v1.Event.FromString(record)
        if event.WhichOneof("what") == "summary":
            if is_removed(event.step):
                count += 1
                continue
            has_values = True
        kept.append(record)
    if not count:
        return 0
    if not has_values:
        path.unlink()
        return count
    partial = path.with_name(_PARTIAL)
    try:
        with tf.io.TFRecordWriter(str(partial)) as writer:
            for record in kept:
                writer.write(record)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return count


def _read(path: pathlib.Path) -> list[bytes]:
    """Reads the records of a file up to its end or to damage."""
    records = []
    iterator = iter(tf.data.TFRecordDataset(str(path)))
    while True:
        try:
            records.append(next(iterator).numpy())
        except (StopIteration, tf.errors.DataLossError):
            return records


def _is_in_use(name: str) -> bool:
    """Returns whether another process of this machine may write a file."""
    match = _WRITER.match(name)
    if not match or match[1] != socket.gethostname():
        return False
    process = int(match[2])
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
