# SPDX-License-Identifier: Apache-2.0
"""Files and folders by their path, or by an address such as gs://bucket/run.

Addresses are those of TensorFlow's file systems (`tf.io.gfile`). TensorFlow is
loaded for them alone.
"""

import contextlib
import importlib
import io
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import IO, Any

from deeplab2_like.storage import user_paths

PathLike = str | os.PathLike[str]
# Bytes of a file at an address that are asked for at once.
_READ_BYTES = 1 << 20


def _gfile() -> Any:
    # By name: programs that need no TensorFlow do not depend on it.
    return importlib.import_module("tensorflow").io.gfile


def is_remote(path: PathLike) -> bool:
    """Returns whether a path is an address."""
    return user_paths.is_remote(os.fspath(path))


@contextlib.contextmanager
def _as_os_errors(path: PathLike) -> Iterator[None]:
    """Raises TensorFlow's errors about files as those of Python."""
    errors = importlib.import_module("tensorflow").errors
    try:
        yield
    except errors.NotFoundError as error:
        raise FileNotFoundError(2, str(error.message), str(path)) from error
    except errors.OpError as error:
        raise OSError(5, str(error.message), str(path)) from error


def join(folder: PathLike, name: str) -> str:
    """Returns the path of a file in a folder."""
    return f"{os.fspath(folder).rstrip('/')}/{name}"


def exists(path: PathLike) -> bool:
    """Returns whether there is a file or folder.

    Raises:
        OSError: An address cannot be looked up.
    """
    if is_remote(path):
        with _as_os_errors(path):
            return bool(_gfile().exists(os.fspath(path)))
    return os.path.exists(path)


def is_folder(path: PathLike) -> bool:
    """Returns whether there is a folder."""
    if is_remote(path):
        return bool(_gfile().isdir(os.fspath(path)))
    return os.path.isdir(path)


def list_names(folder: PathLike) -> list[str]:
    """Lists the names of what is in a folder, sorted; [] if it is none.

    Raises:
        OSError: An address cannot be looked up.
    """
    if not is_folder(folder):
        return []
    if is_remote(folder):
        with _as_os_errors(folder):
            names = _gfile().listdir(os.fspath(folder))
        return sorted(name.rstrip("/") for name in names)
    return sorted(os.listdir(folder))


def make_folder(path: PathLike) -> None:
    """Makes a folder and those above it, where they do not exist.

    Raises:
        OSError: It cannot be made.
    """
    if is_remote(path):
        with _as_os_errors(path):
            _gfile().makedirs(os.fspath(path))
        return
    pathlib.Path(path).mkdir(parents=True, exist_ok=True)


def read_bytes(path: PathLike) -> bytes:
    """Reads a file.

    Raises:
        OSError: There is none, or it cannot be read.
    """
    if is_remote(path):
        with _as_os_errors(path), _gfile().GFile(os.fspath(path), "rb") as file:
            return bytes(file.read())
    return pathlib.Path(path).read_bytes()


class _RemoteReader(io.RawIOBase):
    """A file at an address, as those of Python."""

    def __init__(self, path: PathLike):
        """Opens the file; raises `OSError`."""
        super().__init__()
        self.name = os.fspath(path)
        self._size = size(path)
        self._position = 0
        self._file = _gfile().GFile(self.name, "rb")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        starts = {os.SEEK_CUR: self._position, os.SEEK_END: self._size}
        self._position = max(0, starts.get(whence, 0) + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        if self._position >= self._size:
            return 0
        with _as_os_errors(self.name):
            self._file.seek(self._position)
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def open_read(path: PathLike) -> IO[bytes]:
    """Opens a file for reading its bytes, at any place.

    Raises:
        OSError: There is none, or it cannot be read.
    """
    if is_remote(path):
        return io.BufferedReader(_RemoteReader(path), _READ_BYTES)
    return open(path, "rb")


def read_text(path: PathLike) -> str:
    """Reads a text file in UTF-8; see `read_bytes`."""
    return read_bytes(path).decode("utf-8")


def delete(path: PathLike) -> None:
    """Deletes a file, if there is one.

    Raises:
        OSError: It cannot be deleted.
    """
    if is_remote(path):
        with contextlib.suppress(FileNotFoundError), _as_os_errors(path):
            _gfile().remove(os.fspath(path))
        return
    pathlib.Path(path).unlink(missing_ok=True)


def delete_folder(path: PathLike) -> None:
    """Deletes a folder with what is in it, as far as that is possible."""
    if is_remote(path):
        with contextlib.suppress(OSError), _as_os_errors(path):
            _gfile().rmtree(os.fspath(path))
        return
    shutil.rmtree(path, ignore_errors=True)


def size(path: PathLike) -> int:
    """Returns the number of bytes of a file.

    Raises:
        OSError: It does not exist.
    """
    if is_remote(path):
        with _as_os_errors(path):
            return int(_gfile().stat(os.fspath(path)).length)
    return os.stat(path).st_size


def find_files(pattern: str) -> list[str]:
    """Finds the files of a pattern; see `user_paths.find_files`.

    Args:
        pattern: A pattern of paths, or of addresses.

    Raises:
        DataError: See there.
        OSError: Addresses cannot be looked up.
    """
    if is_remote(pattern):
        with _as_os_errors(pattern):
            return sorted(_gfile().glob(pattern))
    return user_paths.find_files(pattern)


def changed_at(path: PathLike) -> float:
    """Returns when a file was written, in seconds, by its disk's clock.

    Raises:
        OSError: It does not exist.
    """
    if is_remote(path):
        with _as_os_errors(path):
            return float(_gfile().stat(os.fspath(path)).mtime_nsec) * 1e-9
    return os.stat(path).st_mtime


@contextlib.contextmanager
def open_remote(path: PathLike, mode: str) -> Iterator[IO[Any]]:
    """Opens a file at an address for writing; it appears when the block ends.

    Args:
        path: The address, in an existing folder.
        mode: "wb", or "w" for text in UTF-8.

    Yields:
        A file in memory.

    Raises:
        OSError: It cannot be written.
    """
    buffer: IO[Any] = io.BytesIO() if "b" in mode else io.StringIO()
    yield buffer
    buffer.seek(0)
    content = buffer.read()
    target = os.fspath(path)
    folder, _, name = target.rpartition("/")
    partial = f"{folder}/.{name}.partial"
    with _as_os_errors(path):
        with _gfile().GFile(partial, mode) as file:
            file.write(content)
        _gfile().rename(partial, target, overwrite=True)
