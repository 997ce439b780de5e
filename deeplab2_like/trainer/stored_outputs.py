# SPDX-License-Identifier: Apache-2.0
"""Outputs of a model on disk: read many times, one batch at a time."""

import contextlib
import os
import pathlib
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.storage import any_files, whole_files

Arrays = Mapping[str, npt.NDArray[Any]]

_PREFIX = ".tuning-"
_INTEGERS = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32)


@contextlib.contextmanager
def temporary_folder(parent: str) -> Iterator[pathlib.Path]:
    """Makes a folder that is removed when the block ends, by an error too.

    Folders that killed processes of this machine left are removed.

    Args:
        parent: Folder in which it is made, and which is made if necessary.
    """
    if any_files.is_remote(parent):
        with tempfile.TemporaryDirectory() as local:
            yield pathlib.Path(local)
        return
    base = pathlib.Path(parent)
    base.mkdir(parents=True, exist_ok=True)
    host = re.sub(r"[^\w.]", "_", socket.gethostname())
    for path in base.glob(f"{_PREFIX}{host}-*"):
        if not _is_alive(path.name.rpartition("-")[2]):
            shutil.rmtree(path, ignore_errors=True)
    folder = base / f"{_PREFIX}{host}-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return int(process) != os.getpid()


class StoredOutputs:
    """Batches of arrays in a folder.

    An array has the smallest type that holds all of its values exactly: float16
    for float32 numbers that have no more digits, the narrowest integers.
    """

    def __init__(self, folder: pathlib.Path):
        """Starts without batches.

        Args:
            folder: An empty folder.
        """
        self._folder = folder
        self._dtypes: list[dict[str, np.dtype]] = []

    def __len__(self) -> int:
        """Returns the number of batches."""
        return len(self._dtypes)

    def add(self, arrays: Arrays) -> int:
        """Stores a batch.

        Args:
            arrays: Arrays by name.

        Returns:
            The number of bytes that were written.

        Raises:
            DataError: The disk is full.
        """
        path = self._path(len(self))
        narrow: dict[str, Any] = {
            name: _narrow(array) for name, array in arrays.items()
        }
        try:
            np.savez(path, **narrow)
        except OSError as error:
            if not whole_files.is_disk_full(error):
                raise
            raise errors.DataError(
                f"{whole_files.describe_full_disk(path)} It is to hold the "
                "outputs of all images: free some space, or tune on fewer "
                "images, --config_override='evaluator_options { eval_steps: "
                "100 }'."
            ) from error
        self._dtypes.append({k: v.dtype for k, v in arrays.items()})
        return path.stat().st_size

    def __iter__(self) -> Iterator[dict[str, npt.NDArray[Any]]]:
        """Yields the batches, with the types that they had."""
        for index, dtypes in enumerate(self._dtypes):
            with np.load(self._path(index)) as file:
                yield {k: _widen(file[k], dtype) for k, dtype in dtypes.items()}

    def _path(self, index: int) -> pathlib.Path:
        return self._folder / f"{index:06d}.npz"


def _narrow(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns an array of the smallest type that holds the values exactly."""
    if array.dtype.kind in "iu" and array.size:
        low, high = array.min(), array.max()
        for dtype in _INTEGERS:
            info = np.iinfo(dtype)
            if info.min <= low and high <= info.max:
                return array.astype(dtype)
        return array
    if array.dtype == np.float32:
        with np.errstate(over="ignore"):
            half = array.astype(np.float16)
        return half if np.array_equal(half, array) else array
    if array.dtype.kind == "V":  # bfloat16, which NumPy's files do not have.
        return array.view(np.uint16)
    return array


def _widen(array: npt.NDArray[Any], dtype: np.dtype) -> npt.NDArray[Any]:
    if dtype.kind == "V":
        return array.view(dtype)
    return array.astype(dtype, copy=False)
