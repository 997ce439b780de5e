# SPDX-License-Identifier: Apache-2.0
"""Removes summaries of steps that a run does again.

A run that was killed has written summaries of steps after its last checkpoint.
When it continues it writes them once more, and TensorBoard would show both.
"""

import os
import re
import socket
from collections.abc import Callable

import tensorflow as tf
from absl import logging

from deeplab2_like.storage import any_files

_BEGIN = "events.out.tfevents."
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
    for name in any_files.list_names(folder):
        if not name.startswith(_BEGIN) or (is_shared and _is_in_use(name)):
            continue
        path = any_files.join(folder, name)
        try:
            count += _rewrite(path, is_removed)
        except (OSError, tf.errors.OpError) as error:
            logging.warning("The summaries in %s stay: %s", path, error)
    return count


def _rewrite(path: str, is_removed: Callable[[int], bool]) -> int:
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
        any_files.delete(path)
        return count
    partial = any_files.join(path.rpartition("/")[0], _PARTIAL)
    try:
        with tf.io.TFRecordWriter(partial) as writer:
            for record in kept:
                writer.write(record)
        tf.io.gfile.rename(partial, path, overwrite=True)
    finally:
        any_files.delete(partial)
    return count


def _read(path: str) -> list[bytes]:
    """Reads the records of a file up to its end or to damage."""
    records = []
    iterator = iter(tf.data.TFRecordDataset(path))
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
