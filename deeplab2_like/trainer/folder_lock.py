# SPDX-License-Identifier: Apache-2.0
"""The lock of a model folder: one training writes it at a time.

The lock is a file that names its process, and that the process renews as long
as it lives. So a lock that a killed process left is known: on the same machine
by the process, elsewhere by its age. Containers may have the host name of
another one and numbers of processes of their own: what counts as the same
machine has the same host name and the same namespace of processes.
"""

import contextlib
import datetime
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from deeplab2_like import errors
from deeplab2_like.storage import any_files, json_files, whole_files
from deeplab2_like.trainer import stopping

LOCK_FILE = "training.lock"

_RENEW_SECONDS = 30
# A lock of another machine that was not renewed for this long is left over.
_STALE_SECONDS = 300
_LOOK_SECONDS = 5.0
_TELL_SECONDS = 1.0
# Tells this process from others of the same host name and number.
_TOKEN = secrets.token_hex(8)


@contextlib.contextmanager
def training_lock(
    directory: str, say: Callable[[str], None] = lambda _: None
) -> Iterator[None]:
    """Locks a model folder against other trainers inside a block.

    A lock that a killed process left is taken over. Where it is that of a
    container that had the same host name, as one that is started again, this
    waits until the lock is renewed or too old.

    Args:
        directory: The model folder; made if necessary.
        say: Function that prints a line.

    Raises:
        CheckpointError: Another trainer uses the folder.
    """
    file = any_files.join(directory, LOCK_FILE)
    owner = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "namespace": _find_namespace(),
        "token": _TOKEN,
        "since": datetime.datetime.now().isoformat(timespec="seconds"),
        "renewed_every": _RENEW_SECONDS,
    }
    any_files.make_folder(directory)
    while not _create(file, owner):
        _wait_for_namesake(file, say)
        left = refuse_other_trainer(directory, may_write=True)
        if left:
            say(left)
        any_files.delete(file)  # Its process has ended.
    is_over = threading.Event()
    thread = threading.Thread(
        target=_renew_until, args=(is_over, file, owner, say), daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        unlock(directory)


def unlock(directory: str) -> None:
    """Deletes the lock of this process, if it has one."""
    file = any_files.join(directory, LOCK_FILE)
    with contextlib.suppress(OSError):
        if _is_own(_read(file)):
            any_files.delete(file)


def refuse_other_trainer(directory: str, *, may_write: bool = False) -> str:
    """Raises if the process of a lock may be alive.

    Args:
        directory: The model folder.
        may_write: Whether a file may be written to learn the time of the
            folder's disk; if not, the clock of this machine counts.

    Returns:
        A sentence about a lock of another machine that is left over; else "".
        "" also for a lock that only `training_lock` can judge, by waiting.

    Raises:
        CheckpointError: It may be.
    """
    file = any_files.join(directory, LOCK_FILE)
    if not any_files.exists(file):
        return ""
    other = _read(file)
    is_here = _is_here(other)
    process = other["process"]
    if is_here and (process in (-1, os.getpid()) or not _is_alive(process)):
        return ""
    if _is_namesake(other) and not may_write:
        return ""
    who = (
        f"a trainer on {other['host']}, process {process}, since "
        f"{other['since']}"
    )
    age = _find_age(file, may_write) if other["renewed_every"] else 0.0
    if not is_here and age > _STALE_SECONDS:
        return (
            f"The lock of {who}, was not renewed for {age:.0f} s, so that it "
            "counts as gone."
        )
    wait = ""
    if other["renewed_every"] and not is_here:
        wait = (
            f" If it is gone, the lock counts as left over {_STALE_SECONDS} s "
            "after its end."
        )
    raise errors.CheckpointError(
        f"{directory} is in use by {who}. Stop it, or delete {file} if it is "
        f"gone.{wait}"
    )


def _create(file: str, owner: dict[str, Any]) -> bool:
    """Creates the lock; returns False where there is one."""
    text = json_files.to_line(owner)
    if any_files.is_remote(file):
        if any_files.exists(file):
            return False
        whole_files.write_text(file, text)
        return _is_own(_read(file))
    complete = _name_temporary(file)
    try:
        with open(complete, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.link(complete, file)  # Whole from its first moment.
    except FileExistsError:
        return False
    except OSError:  # Of a disk without further names of a file.
        return _create_alone(file, text)
    finally:
        any_files.delete(complete)
    return True


def _create_alone(file: str, text: str) -> bool:
    try:
        with open(file, "x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        return False
    return True


def _read(file: str) -> dict[str, Any]:
    """Returns the owner of a lock; of a damaged one, a process that ended."""
    try:
        found = json.loads(any_files.read_text(file))
        return {
            "host": str(found["host"]),
            "process": int(found["process"]),
            "namespace": str(found.get("namespace", "")),
            "token": str(found.get("token", "")),
            "since": str(found.get("since", "unknown")),
            "renewed_every": float(found.get("renewed_every", 0.0)),
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # Half written by a killed process.
        host = socket.gethostname()
        return {
            "host": host,
            "process": -1,
            "namespace": _find_namespace(),
            "token": "",
            "since": "unknown",
            "renewed_every": 0.0,
        }


def _is_own(owner: dict[str, Any]) -> bool:
    """Returns whether a lock is that of this process."""
    # A fork has the same token, and a number of its own.
    return bool(owner["token"] == _TOKEN and owner["process"] == os.getpid())


def _is_here(owner: dict[str, Any]) -> bool:
    """Returns whether the number of a lock's process is one of this machine."""
    is_same_host = owner["host"] == socket.gethostname()
    return bool(is_same_host and owner["namespace"] == _find_namespace())


def _is_namesake(owner: dict[str, Any]) -> bool:
    """Returns whether a lock is of another machine of the same host name."""
    is_same_host = owner["host"] == socket.gethostname()
    return bool(is_same_host and not _is_here(owner) and owner["renewed_every"])


def _wait_for_namesake(file: str, say: Callable[[str], None]) -> None:
    """Waits until the lock of a namesake is renewed, gone or too old."""
    with contextlib.suppress(FileNotFoundError):
        other, first = _read(file), any_files.changed_at(file)
        if not _is_namesake(other) or _find_age(file, True) > _STALE_SECONDS:
            return
        say(
            f"{file} is that of a trainer in another container of the host "
            f"name {other['host']}. Waiting to see whether it is renewed, at "
            f"most {_STALE_SECONDS} s."
        )
        while (
            any_files.changed_at(file) == first
            and _find_age(file, True) <= _STALE_SECONDS
        ):
            _wait(_LOOK_SECONDS)


def _wait(seconds: float) -> None:
    time.sleep(seconds)


def _find_namespace() -> str:
    """Returns the name of the namespace of process numbers; "" if unknown."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _name_temporary(file: str) -> str:
    return f"{file}.{socket.gethostname()}-{os.getpid()}-{_TOKEN}"


def _find_age(file: str, may_write: bool) -> float:
    """Returns for how many seconds a lock was not renewed."""
    if not may_write:
        return time.time() - any_files.changed_at(file)
    probe = _name_temporary(file)
    try:
        whole_files.write_text(probe, "")
        return any_files.changed_at(probe) - any_files.changed_at(file)
    except OSError:
        return 0.0
    finally:
        with contextlib.suppress(OSError):
            any_files.delete(probe)


def _renew_until(
    is_over: threading.Event,
    file: str,
    owner: dict[str, Any],
    say: Callable[[str], None],
) -> None:
    """Renews a lock from time to time."""
    while not is_over.wait(_RENEW_SECONDS):
        with contextlib.suppress(OSError):  # It is tried again.
            _renew(file, owner, say)


def _renew(
    file: str, owner: dict[str, Any], say: Callable[[str], None]
) -> None:
    """Renews a lock, or ends the process if another one has taken it over."""
    if any_files.exists(file):
        other = _read(file)
        if other["process"] != -1 and not _is_own(other):
            text = (
                "Error: the folder of this run is in use by a trainer on "
                f"{other['host']}, process {other['process']}, since "
                f"{other['since']}, which took it over when this process did "
                f"not renew {file} for {_STALE_SECONDS} s. This one ends; "
                "nothing more is saved."
            )
            # The other one writes already.
            try:
                stopping.call_within(_TELL_SECONDS, lambda: say(text))
            finally:
                os._exit(errors.CheckpointError.exit_code)
    whole_files.write_text(file, json_files.to_line(owner))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
