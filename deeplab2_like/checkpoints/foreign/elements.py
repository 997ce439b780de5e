# SPDX-License-Identifier: Apache-2.0
"""Arrays from the bytes of a file, with all sizes checked first.

The arrays are views of the bytes wherever NumPy has the type, so that a file
cannot ask for more memory than its own size: a small storage may be repeated
by strides of 0 or be used by many tensors.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.lib import stride_tricks

# Order of the bytes of an element: little endian, or big endian.
Order = Literal["<", ">"]
# Size in bytes of the element types, by their name.
SIZES = {
    "bool": 1,
    "uint8": 1,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "bfloat16": 2,
    "float16": 2,
    "float32": 4,
    "float64": 8,
}
# Of NumPy's 64, so that those of all versions suffice.
_MOST_DIMENSIONS = 32
# A view may have more elements than its storage, but not more than this.
_MOST_REPEATED = 2**24


def decode(data: Any, element: str, order: Order = "<") -> np.ndarray:
    """Decodes the elements of a storage.

    Args:
        data: Bytes-like object of a whole number of elements.
        element: A key of `SIZES`.
        order: Order of the bytes in an element.

    Returns:
        [elements], read-only; a view of `data` unless the bytes have to be
        swapped. `bfloat16` becomes float32, which contains all its values.

    Raises:
        ValueError: Booleans are neither 0 nor 1.
    """
    stored = {"bfloat16": "uint16"}.get(element, element)
    values = np.frombuffer(data, np.dtype(stored).newbyteorder(order))
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if element == "bfloat16":
        # The upper half of a float32.
        values = np.left_shift(values, 16, dtype=np.uint32).view(np.float32)
    if element == "bool" and np.any(values.view(np.uint8) > 1):
        raise ValueError("it has booleans that are neither 0 nor 1")
    values.flags.writeable = False
    return values


def check_shape(shape: Any, elements: int) -> None:
    """Checks the shape of an array that consists of all elements in order.

    Args:
        shape: What a file gives as shape.
        elements: Number of elements that the file contains.

    Raises:
        ValueError: It is no shape, or that of another number of elements.
    """
    _check_dimensions(shape, elements)
    if math.prod(shape) != elements:
        raise ValueError(
            f"its shape {_show_shape(shape)} does not agree with its "
            f"{elements} elements"
        )


def make_view(
    values: np.ndarray, offset: Any, shape: Any, strides: Any
) -> np.ndarray:
    """Makes a view of a part of a storage.

    Args:
        values: [elements] of the storage.
        offset: Index of the view's first element.
        shape: Sizes of the view's dimensions.
        strides: Distances between neighbors of each dimension, in elements.

    Returns:
        [*shape], read-only; it uses the memory of `values`.

    Raises:
        ValueError: The view does not lie in the storage.
    """
    _check_dimensions(shape, len(values))
    if not _are_sizes(strides) or len(strides) != len(shape):
        raise ValueError("its strides are not one number for each dimension")
    if not _are_sizes((offset,)):
        raise ValueError("its offset is not a number of elements")
    # The stride of a dimension of size 1 is used by no element.
    strides = [s if n > 1 else 0 for n, s in zip(shape, strides, strict=True)]
    reach = sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    end = offset + (reach + 1 if 0 not in shape else 0)
    if end > len(values):
        raise ValueError(
            f"its shape {_show_shape(shape)} ends {end - len(values)} elements "
            f"beyond its storage of {len(values)}"
        )
    if 0 in shape:
        return values[:0].reshape(shape)
    step = values.itemsize
    return stride_tricks.as_strided(
        values[offset:end], shape, [s * step for s in strides], writeable=False
    )


def _check_dimensions(shape: Any, elements: int) -> None:
    if not _are_sizes(shape):
        raise ValueError("its shape is not made of numbers from 0 on")
    if len(shape) > _MOST_DIMENSIONS:
        raise ValueError(f"it has {len(shape)} dimensions")
    if math.prod(max(n, 1) for n in shape) > max(elements, _MOST_REPEATED):
        raise ValueError(
            f"its shape {_show_shape(shape)} is too large for the {elements} "
            "elements of its storage"
        )


def _are_sizes(values: Any) -> bool:
    return isinstance(values, (tuple, list)) and all(
        type(n) is int and 0 <= n < 2**63 for n in values
    )


def _show_shape(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))})"
