# SPDX-License-Identifier: Apache-2.0
import json
import os
import socket
import threading

import pytest

from deeplab2_like import errors
from deeplab2_like.trainer import folder_lock


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "training.lock"


def _write(lock, age=0, **owner):
    lock.write_text(json.dumps(owner))
    then = lock.stat().st_mtime - age
    os.utime(lock, (then, then))


_OTHER = {"host": "another-host", "process": 1, "since": "2020-01-01"}


@pytest.mark.parametrize("more", [{}, {"renewed_every": 30}])
def test_a_second_trainer_is_refused_and_the_lock_is_given_back(
    tmp_path, lock, more
):
    _write(lock, **_OTHER, **more)
    with (
        pytest.raises(errors.CheckpointError, match="another-host, process 1"),
        folder_lock.training_lock(str(tmp_path)),
    ):
        pass
    assert json.loads(lock.read_text())["host"] == "another-host"
    lock.unlink()
    with folder_lock.training_lock(str(tmp_path)):
        assert json.loads(lock.read_text())["process"] == os.getpid()
    assert not list(tmp_path.iterdir())


def test_a_lock_of_another_machine_that_is_not_renewed_is_taken_over(
    tmp_path, lock
):
    _write(lock, age=400, **_OTHER, renewed_every=30)
    # What only looks writes nothing.
    assert "another-host" in folder_lock.refuse_other_trainer(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["training.lock"]
    lines = []
    with folder_lock.training_lock(str(tmp_path), lines.append):
        assert json.loads(lock.read_text())["process"] == os.getpid()
    (line,) = lines
    assert "process 1, since 2020-01-01, was not renewed for 4" in line


def test_a_lock_that_names_no_time_of_renewal_is_never_too_old(tmp_path, lock):
    _write(lock, age=1e6, **_OTHER)
    with pytest.raises(errors.CheckpointError, match="another-host"):
        folder_lock.refuse_other_trainer(str(tmp_path))


def test_a_lock_is_renewed_while_its_process_lives(tmp_path, lock):
    with folder_lock.training_lock(str(tmp_path)):
        owner = json.loads(lock.read_text())
        os.utime(lock, (1, 1))
        folder_lock._renew(str(lock), owner, pytest.fail)
        assert lock.stat().st_mtime > 1
        assert json.loads(lock.read_text()) == owner
    assert not list(tmp_path.iterdir())


def test_a_thread_renews_the_lock_while_the_block_lasts(tmp_path, monkeypatch):
    is_renewed = threading.Event()
    monkeypatch.setattr(folder_lock, "_RENEW_SECONDS", 0.01)
    monkeypatch.setattr(folder_lock, "_renew", lambda *_: is_renewed.set())
    with folder_lock.training_lock(str(tmp_path)):
        assert is_renewed.wait(30)
    assert not list(tmp_path.iterdir())


def test_a_process_whose_lock_was_taken_over_ends(lock, monkeypatch):
    codes, lines = [], []
    monkeypatch.setattr(folder_lock.os, "_exit", codes.append)
    _write(lock, **_OTHER)
    folder_lock._renew(str(lock), {"host": "this", "process": 7}, lines.append)
    assert codes == [errors.CheckpointError.exit_code]
    assert "in use by a trainer on another-host, process 1" in lines[0]


def test_a_process_whose_lock_was_taken_over_ends_without_output(
    lock, monkeypatch
):
    codes = []
    monkeypatch.setattr(folder_lock.os, "_exit", codes.append)
    monkeypatch.setattr(folder_lock, "_TELL_SECONDS", 0.01)
    _write(lock, **_OTHER)

    def fail(_):
        raise BrokenPipeError

    never = threading.Event()
    for say in (fail, lambda _: never.wait()):
        # In a thread, so that the test fails where it does not end.
        renews = threading.Thread(
            target=folder_lock._renew,
            args=(str(lock), {"host": "this", "process": 7}, say),
            daemon=True,
        )
        renews.start()
        renews.join(30)
    assert codes == 2 * [errors.CheckpointError.exit_code]


def test_only_the_own_lock_is_given_back_in_a_hurry(tmp_path, lock):
    folder_lock.unlock(str(tmp_path))
    _write(lock, **_OTHER)
    folder_lock.unlock(str(tmp_path))
    assert lock.exists()
    lock.unlink()
    with folder_lock.training_lock(str(tmp_path)):
        folder_lock.unlock(str(tmp_path))
        assert not lock.exists()


@pytest.mark.parametrize("process", [2**22 + 1, None])
def test_a_lock_that_a_killed_process_left_is_taken_over(
    tmp_path, lock, process
):
    owner = {
        "host": socket.gethostname(),
        "since": "2020-01-01",
        "namespace": folder_lock._find_namespace(),
    }
    if process is not None:  # Without it the file is half written.
        owner["process"] = process
    _write(lock, **owner)
    with folder_lock.training_lock(str(tmp_path)):
        assert json.loads(lock.read_text())["process"] == os.getpid()


def _own():
    """Returns what names this process, except for its token."""
    return {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "namespace": folder_lock._find_namespace(),
        "since": "2020-01-01",
        "renewed_every": 30,
    }


def test_a_process_of_the_same_name_and_number_is_another_one(
    tmp_path, lock, monkeypatch
):
    codes = []
    monkeypatch.setattr(folder_lock.os, "_exit", codes.append)
    _write(lock, **_own(), token="another")
    folder_lock.unlock(str(tmp_path))
    assert lock.exists()
    assert not folder_lock._is_own(folder_lock._read(str(lock)))
    folder_lock._renew(str(lock), _own(), lambda _: None)
    assert codes == [errors.CheckpointError.exit_code]


_CONTAINER = {"namespace": "pid:[1]", "process": 2**22 + 1, "token": "another"}


def test_a_live_container_of_the_same_host_name_is_refused(
    tmp_path, lock, monkeypatch
):
    _write(lock, **(_own() | _CONTAINER))
    waits, lines = [], []

    def renew(seconds):
        waits.append(seconds)
        then = lock.stat().st_mtime + 1
        os.utime(lock, (then, then))

    monkeypatch.setattr(folder_lock, "_wait", renew)
    # What only looks neither waits nor refuses.
    assert not folder_lock.refuse_other_trainer(str(tmp_path))
    assert not waits
    with (
        pytest.raises(errors.CheckpointError, match="is in use"),
        folder_lock.training_lock(str(tmp_path), lines.append),
    ):
        pass
    assert len(waits) == 1
    assert "Waiting to see whether it is renewed" in lines[0]
    assert json.loads(lock.read_text())["token"] == "another"


def test_a_container_of_the_same_host_name_that_is_gone_is_followed(
    tmp_path, lock, monkeypatch
):
    _write(lock, **(_own() | _CONTAINER))
    monkeypatch.setattr(folder_lock, "_find_age", lambda *_: ages.pop(0))
    ages, waits, lines = [10, 10, 200, 301, 301], [], []
    monkeypatch.setattr(folder_lock, "_wait", waits.append)
    with folder_lock.training_lock(str(tmp_path), lines.append):
        assert folder_lock._is_own(folder_lock._read(str(lock)))
    assert len(waits) == 2
    assert "was not renewed for 301 s" in lines[1]
