# SPDX-License-Identifier: Apache-2.0
"""Tensors as bytes, as the Open Inference Protocol has them.

Values follow each other, little endian; a string is its length, 4 bytes, and
then that many bytes.
"""

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like.server import failures, signatures
from deeplab2_like.server.signatures import TensorInfo

DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    signatures.STRING: "BYTES",
}


def parse_tensor(name: str, data: bytes, info: TensorInfo) -> npt.NDArray[Any]:
    """Reads an array [N].

    Args:
        name: Name of the tensor, for errors.
        data: The bytes.
        info: The tensor; only its type is looked at.

    Raises:
        RequestError: The bytes are no values of the type.
    """
    if info.dtype != signatures.STRING:
        dtype = info.numpy_dtype.newbyteorder("<")
        if len(data) % dtype.itemsize:
            raise failures.invalid(
                f"Input {name} has {len(data)} bytes, no multiple of "
                f"{dtype.itemsize}."
            )
        if info.dtype == "bool" and data.strip(b"\0\1"):
            raise failures.invalid(f"Input {name} has bytes besides 0 and 1.")
        return np.frombuffer(data, dtype).astype(info.numpy_dtype)
    values = []
    place = 0
    while place < len(data):
        end = place + 4
        if end <= len(data):
            end += struct.unpack_from("<I", data, place)[0]
        if end > len(data) or end < place + 4:
            raise failures.invalid(
                f"Input {name} ends within a value. Each value is its length, "
                "4 bytes, and then that many bytes."
            )
        values.append(data[place + 4 : end])
        place = end
    return signatures.make_strings(values)


def format_tensor(array: npt.NDArray[Any]) -> bytes:
    """Writes an array."""
    if array.dtype != object:
        return array.astype(array.dtype.newbyteorder("<")).tobytes()
    return b"".join(
        struct.pack("<I", len(value)) + value for value in array.reshape(-1)
    )


def name_datatype(array: npt.NDArray[Any]) -> str:
    """Returns the protocol's name of the type of an array."""
    return DATATYPES[signatures.name_dtype(array)]
