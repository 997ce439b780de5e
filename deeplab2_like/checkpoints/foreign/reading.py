# SPDX-License-Identifier: Apache-2.0
"""Reads the weights of a file of another framework, whatever its form."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np

from deeplab2_like import errors
from deeplab2_like.checkpoints.foreign import (
    arrays,
    pickled_names,
    pickles,
    safetensors_files,
    sentences,
    streams,
    torch_files,
)

# Keys under which the weights lie in files of detectron2, of many training
# programs of PyTorch, and of Caffe2.
_WRAPPERS = ("model", "state_dict", "blobs")
_MOST_WRAPPERS = 4
# What `DataParallel` of PyTorch puts before all keys.
_PREFIX = "module."
_ARRAYS = (
    pickled_names.Tensor,
    pickled_names.PickledArray,
    np.ndarray,
)
_PICKLE_STARTS = (b"\x80", b"(", b"}", b"]", b"c")
_OTHER_FORMS = {
    b"\x89HDF\r\n": "is an HDF5 file, as Keras writes",
    b"version https://git-lfs": "is only a pointer of Git LFS to the file",
    b"<": "is a web page, not the file that was to be downloaded",
    b"\x1f\x8b": "is compressed by gzip",
}
_READ_FORMS = (
    "files of torch.save (.pth, .pt), pickles of arrays (.pkl) and "
    ".safetensors files are read"
)


@dataclasses.dataclass(frozen=True)
class ForeignWeights:
    """The weights in a file of another framework.

    Attributes:
        values: Array by its key in the file, read-only, in the layout of that
            framework. Arrays may share their memory. Types are those of the
            file, but bfloat16 is float32.
        left_out: What else the file contains, by its key: its kind, such as
            "a dictionary". Keys of the part that the weights were found in
            begin with that part's name, "state_dict/note".
        form: "torch zip", "torch legacy", "pickle" or "safetensors".
        prefix: What was removed from the start of all keys, "module." or "".
    """

    values: Mapping[str, np.ndarray]
    left_out: Mapping[str, str]
    form: str
    prefix: str = ""


def read_arrays(path: str | os.PathLike[str]) -> ForeignWeights:
    """Reads the weights of a file of PyTorch, detectron2 or Caffe2.

    The form is found by the content: the two forms of `torch.save`, pickled
    dictionaries of NumPy arrays, and safetensors. Nothing in a file is run.
    Weights under "model", "state_dict" or "blobs" are found, and the prefix
    "module." is removed if all keys have it.

    Args:
        path: A file on this machine.

    Returns:
        The arrays by key, and what was left out: optimizers, numbers, texts.

    Raises:
        CheckpointError: There is no such file, it is damaged, of another
            kind, contains more than arrays, or has no arrays.
        InstallError: The file needs the package safetensors.
    """
    where = os.fspath(path)
    if not os.path.isfile(where):
        raise errors.CheckpointError(
            f"There is no file {where}: give a .pth, .pkl or .safetensors file."
        )
    try:
        with open(where, "rb") as file:
            return _read(file, os.fstat(file.fileno()).st_size, where)
    except OSError as error:
        raise sentences.refused(
            where,
            f"cannot be read ({sentences.shown(error.strerror or str(error))})",
            "check the file and its permissions",
        ) from error


def _read(file: BinaryIO, size: int, where: str) -> ForeignWeights:
    start = file.read(64)
    file.seek(0)
    make: Callable[[str, Any], np.ndarray]
    if start.startswith(b"PK\x03\x04"):
        form, archive = "torch zip", torch_files.ZipFile(file, size, where)
        tree, make = archive.tree, arrays.Arrays(where, archive).make
    elif start[7:9] == b"\0{":
        # The upper byte of the header's length, and its first character.
        form, tree = "safetensors", safetensors_files.read(file.read(), where)
        make = _return_array
    elif start.startswith(_PICKLE_STARTS):
        form, tree, make = _read_pickle(file, size, where)
    else:
        raise sentences.refused(where, _describe(start), _READ_FORMS)
    content, left_out = _find_weights(tree, where)
    prefix = _find_prefix(content)
    values = {
        key.removeprefix(prefix): make(key, value)
        for key, value in content.items()
    }
    return ForeignWeights(values, left_out, form, prefix)


def _read_pickle(
    file: BinaryIO, size: int, where: str
) -> tuple[str, Any, Callable[[str, Any], np.ndarray]]:
    stream = streams.Stream(file, size, where)
    tree = pickles.Unpickler(stream, has_storages=False).load()
    if type(tree) is int and tree == torch_files.MAGIC:
        legacy = torch_files.LegacyFile(file, stream)
        make = arrays.Arrays(where, legacy).make
        return "torch legacy", legacy.tree, make
    return "pickle", tree, arrays.Arrays(where).make


def _return_array(_: str, value: np.ndarray) -> np.ndarray:
    return value


def _describe(start: bytes) -> str:
    if not start:
        return "is empty"
    for beginning, text in _OTHER_FORMS.items():
        if start.lstrip().startswith(beginning):
            return text
    return "is damaged or of another kind"


def _find_weights(
    tree: Any, where: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the arrays of the part with the weights, and what is left out."""
    left_out: dict[str, str] = {}
    place = ""
    for _ in range(_MOST_WRAPPERS):
        wrapper = _find_wrapper(tree, where)
        if wrapper is None:
            break
        for key, value in tree.items():
            if key != wrapper:
                left_out[place + key] = _kind_of(value)
        tree, place = tree[wrapper], f"{place}{wrapper}/"
    if not isinstance(tree, dict):
        raise sentences.refused(
            where,
            f"contains {_kind_of(tree)}",
            "a dictionary of arrays is read, such as a state dict",
        )
    content = {}
    for key, value in tree.items():
        if isinstance(value, _ARRAYS):
            content[key] = value
        else:
            left_out[place + key] = _kind_of(value)
    if not content:
        keys = [sentences.shown(key) for key in [*left_out][:8]]
        raise sentences.refused(
            where,
            f"contains no arrays under its keys ({', '.join(keys) or 'none'})",
            "a dictionary of arrays is read, at the top or under "
            f"{', '.join(_WRAPPERS)}",
        )
    return content, left_out


def _find_wrapper(tree: Any, where: str) -> str | None:
    """Returns the key of a dictionary that the weights lie under, if any."""
    if not isinstance(tree, dict):
        return None
    found = [key for key in _WRAPPERS if isinstance(tree.get(key), dict)]
    if len(found) > 1:
        found = [key for key in found if _has_arrays(tree[key])]
    if len(found) > 1:
        raise sentences.refused(
            where,
            f"contains several sets of weights ({', '.join(found)})",
            "save one of them alone",
        )
    return found[0] if found else None


def _kind_of(value: Any) -> str:
    if isinstance(value, pickled_names.PickledNumber):
        return "a number"
    if isinstance(value, _ARRAYS):
        return "an array"
    return sentences.kind_of(value)


def _has_arrays(tree: dict[str, Any]) -> bool:
    return any(isinstance(value, _ARRAYS) for value in tree.values())


def _find_prefix(content: Mapping[str, Any]) -> str:
    if all(key.startswith(_PREFIX) and key != _PREFIX for key in content):
        return _PREFIX
    return ""
