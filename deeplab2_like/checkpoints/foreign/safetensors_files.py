# SPDX-License-Identifier: Apache-2.0
"""Reads `.safetensors` files with the library of that name.

The library is a small reader in Rust that needs no other package. It is an
extra, `weights`, because only those who start from such files need it.
"""

from typing import Any

import numpy as np

from deeplab2_like import errors
from deeplab2_like.checkpoints.foreign import elements, sentences

# Codes of the element types in the header.
_ELEMENTS = {
    "BOOL": "bool",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "BF16": "bfloat16",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
}


def read(data: bytes, where: str) -> dict[str, np.ndarray]:
    """Reads all arrays of a file.

    Args:
        data: Content of the file.
        where: Path of the file, for errors.

    Returns:
        Arrays by key, in the order of the keys, read-only. bfloat16 is
        float32.

    Raises:
        CheckpointError: The file is damaged, or has elements of a type that
            NumPy lacks.
        InstallError: The package safetensors is not installed.
    """
    library = _import_library(where)
    try:
        entries = library.deserialize(data)
    except library.SafetensorError as error:
        raise sentences.damaged(
            where, f"safetensors reports {sentences.shown(str(error), 120)}"
        ) from error
    values = {}
    for key, entry in sorted(entries, key=lambda item: item[0]):
        code = entry["dtype"]
        if code not in _ELEMENTS:
            raise sentences.refused(
                where,
                f"has elements of the type {sentences.shown(code)} in "
                f"{sentences.shown(key)}",
                f"only {', '.join(_ELEMENTS)} are read, so convert it to one "
                "of them",
            )
        try:
            array = elements.decode(entry["data"], _ELEMENTS[code])
            elements.check_shape(entry["shape"], len(array))
        except ValueError as error:
            raise sentences.damaged(
                where,
                f"the array {sentences.shown(key)} cannot be made, {error}",
            ) from None
        values[key] = array.reshape(entry["shape"])
    return values


def _import_library(where: str) -> Any:
    try:
        import safetensors
    except ImportError as error:
        raise errors.InstallError(
            f"{where} is a safetensors file, which the package safetensors "
            "reads, and it is not installed: install it with pip install "
            '"deeplab2-like[weights]".'
        ) from error
    return safetensors
