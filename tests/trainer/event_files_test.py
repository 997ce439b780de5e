# SPDX-License-Identifier: Apache-2.0
import collections
import os
import socket

import tensorflow as tf

from deeplab2_like.trainer import event_files


def _write(folder, steps):
    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default():
        for step in steps:
            tf.summary.scalar("loss", 0.1 * step, step=step)
            tf.summary.scalar("rate", 1.0, step=step)
    writer.close()


def _read(folder):
    """Counts the summaries of each step in all files of a folder."""
    found = collections.Counter()
    for path in sorted(folder.glob("*tfevents*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            found.update(event.step for _ in event.summary.value)
    return found


def test_steps_that_are_done_again_are_removed(tmp_path):
    _write(tmp_path, range(10, 60, 10))
    assert event_files.remove_steps(tmp_path, lambda step: step > 30) == 4
    assert _read(tmp_path) == {10: 2, 20: 2, 30: 2}
    _write(tmp_path, (40, 50))
    assert _read(tmp_path) == dict.fromkeys(range(10, 60, 10), 2)
    assert not [p for p in tmp_path.iterdir() if "tfevents" not in p.name]


def test_a_file_of_such_steps_only_is_deleted(tmp_path):
    _write(tmp_path, (40, 50))
    event_files.remove_steps(tmp_path, lambda step: step > 0)
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_when_all_steps_stay(tmp_path):
    _write(tmp_path, (10, 20))
    (path,) = tmp_path.iterdir()
    before = path.stat()
    assert event_files.remove_steps(tmp_path, lambda step: step > 20) == 0
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert event_files.remove_steps(tmp_path / "none", lambda _: True) == 0


def test_a_file_that_was_cut_off_keeps_what_is_whole(tmp_path):
    _write(tmp_path, (10, 20, 30))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    assert event_files.remove_steps(tmp_path, lambda step: step > 20) == 1
    assert _read(tmp_path) == {10: 2, 20: 2}


def test_files_of_a_process_that_still_writes_are_left_alone(tmp_path):
    _write(tmp_path, (10, 20))
    (path,) = tmp_path.iterdir()
    host = socket.gethostname()
    other = path.name.replace(f".{os.getpid()}.", f".{os.getppid()}.")
    path.rename(tmp_path / other)
    assert host in other
    assert not event_files.remove_steps(
        tmp_path, lambda _: True, is_shared=True
    )
    assert event_files.remove_steps(tmp_path, lambda _: True) == 4
