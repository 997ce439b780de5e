# SPDX-License-Identifier: Apache-2.0
"""A lock is that of one program, and ends with it."""

import gc
import os
import subprocess
import sys

import pytest

from deeplab2_like.storage import file_locks

fcntl = pytest.importorskip("fcntl")

_HOLDER = """
import sys
from deeplab2_like.storage import file_locks
lock = file_locks.FileLock(sys.argv[1])
print(lock.acquire(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "lock"


@pytest.fixture
def other_program(path):
    """A process that has the lock until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "True\n"
        yield process
        process.kill()


def test_a_lock_ends_with_its_program_even_if_it_is_killed(path, other_program):
    lock = file_locks.FileLock(path)
    assert not lock.acquire()
    assert file_locks.find_own(path) is None
    other_program.kill()
    other_program.wait()
    assert lock.acquire()


def test_a_lock_is_given_up_by_release_or_with_its_last_reference(path):
    first, second = file_locks.FileLock(path), file_locks.FileLock(path)
    assert first.acquire()
    assert not second.acquire()
    assert file_locks.find_own(path) is first
    first.release()
    assert file_locks.find_own(path) is None
    assert second.acquire()
    del second
    gc.collect()
    assert first.acquire()
    assert path.read_bytes() == b""


def test_a_lock_is_found_under_every_name_of_its_file(path, tmp_path):
    lock = file_locks.FileLock(path)
    assert lock.acquire()
    link = tmp_path / "link"
    link.symlink_to(path.parent)
    assert file_locks.find_own(link / "lock") is lock
    path.unlink()
    assert file_locks.find_own(path) is None


def test_a_file_that_was_deleted_by_its_owner_locks_nobody_out(
    path, monkeypatch
):
    """One program opens the file, and another one deletes it then."""
    owner = file_locks.FileLock(path)
    assert owner.acquire()
    take, deleted = file_locks.take, []

    def delete_and_take(file):
        if not deleted:
            deleted.append(file)
            path.unlink()
            path.parent.rmdir()
            owner.release()
        return take(file)

    monkeypatch.setattr(file_locks, "take", delete_and_take)
    lock = file_locks.FileLock(path)
    assert lock.acquire()
    assert not file_locks.FileLock(path).acquire()


def test_a_file_that_can_never_be_made_is_no_endless_loop(path):
    path.parent.mkdir()
    path.symlink_to(path.parent / "none" / "file")
    assert not file_locks.FileLock(path).acquire()


def test_disks_that_cannot_lock_lock_nobody_out(path, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    first, second = file_locks.FileLock(path), file_locks.FileLock(path)
    assert first.acquire()
    assert second.acquire()


def test_an_open_file_is_locked_as_long_as_it_is_open(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with path.open("r+b") as file:
        assert file_locks.take(file)
        descriptor = os.open(path, os.O_RDWR)
        assert not file_locks.take(descriptor)
    assert file_locks.take(descriptor)
    os.close(descriptor)
    assert path.read_bytes() == b"content"
