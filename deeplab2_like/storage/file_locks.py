# SPDX-License-Identifier: Apache-2.0
"""Locks that keep other programs of this machine from writing the same files.

The system ends them with the process that has them, however that ends, so that
none is left over. On disks that cannot lock, as some network disks, and where
Python cannot, every program gets what it asks for.

`take` locks a file that is open. A `FileLock` is a file of its own, which may
be deleted with the files that it protects. The lock of a model folder, which
other machines respect and which may lie at an address, is another one:
`trainer.folder_lock`.
"""

import contextlib
import os
import pathlib
import weakref
from typing import IO, Any

_MOST_TRIES = 100


def take(file: IO[Any] | int) -> bool:
    """Locks a file as long as it is open.

    Args:
        file: An open file, or its descriptor.

    Returns:
        False where it is locked already: by another program, or by another
        opening of the file in this one.
    """
    try:
        import fcntl
    except ImportError:  # Not on Windows.
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # Some network disks cannot lock.
        return True
    return True


class FileLock:
    """A lock that is an empty file; it is made where there is none.

    It is given up by `release`, or with the last reference to this object.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Locks nothing yet.

        Args:
            path: The file, in a folder that exists or can be made.
        """
        self._path = pathlib.Path(path)
        self._identity: tuple[int, int] | None = None
        self._close: weakref.finalize[[int], FileLock] | None = None

    def acquire(self) -> bool:
        """Takes the lock; returns False where another one has it."""
        for _ in range(_MOST_TRIES):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Another program may delete the folder at any time.
            with contextlib.suppress(FileNotFoundError):
                file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
                if not take(file):
                    os.close(file)
                    return False
                identity = _identify(os.fstat(file))
                if identity == _find_identity(self._path):
                    self._identity = identity
                    self._close = weakref.finalize(self, os.close, file)
                    _HELD.add(self)
                    return True
                # It was deleted by whoever had it.
                os.close(file)
        return False

    def release(self) -> None:
        """Gives the lock up, if this has it; the file remains."""
        if self._close is not None:
            self._close()
        self._identity = None

    def is_at(self, path: str | os.PathLike[str]) -> bool:
        """Returns whether this has the lock, and the file is that of a path."""
        has_it = self._identity is not None
        return has_it and self._identity == _find_identity(path)


# Locks of this process that are in use.
_HELD: weakref.WeakSet[FileLock] = weakref.WeakSet()


def find_own(path: str | os.PathLike[str]) -> FileLock | None:
    """Returns the lock that this process has on a file; None for none."""
    return next((lock for lock in [*_HELD] if lock.is_at(path)), None)


def _identify(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _find_identity(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    with contextlib.suppress(FileNotFoundError):
        return _identify(os.stat(path))
    return None
