# SPDX-License-Identifier: Apache-2.0
"""Tensors in the repeated fields of messages, a field for each group of types.

TensorFlow's `TensorProto` and the Open Inference Protocol both have them, for
example one field for all whole numbers of at most 32 bits.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like.server import signatures
from deeplab2_like.server.signatures import TensorInfo


def parse_tensor(
    name: str, values: Sequence[Any], info: TensorInfo
) -> npt.NDArray[Any]:
    """Reads an array [N].

    Args:
        name: Name of the tensor, for errors.
        values: The values of the field.
        info: The tensor; only its type is looked at.

    Raises:
        RequestError: The type cannot hold one of them.
    """
    if info.dtype == signatures.STRING:
        return signatures.make_strings(values)
    dtype = info.numpy_dtype
    if dtype.kind not in "iu":
        return np.fromiter(values, dtype, len(values))
    wide = np.uint64 if info.dtype == "uint64" else np.int64
    array: npt.NDArray[Any] = np.fromiter(values, wide, len(values))
    if array.size:
        signatures.check_range(name, int(array.min()), int(array.max()), info)
    return array.astype(dtype)


def format_tensor(array: npt.NDArray[Any]) -> list[Any]:
    """Makes the values of the field of an array."""
    values: list[Any] = array.reshape(-1).tolist()
    return values
