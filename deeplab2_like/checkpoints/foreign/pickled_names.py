# SPDX-License-Identifier: Apache-2.0
"""The names that pickles of weights may use, and what is made of them.

Nothing is imported or looked up by a name from a file: `NAMES` is a table of
exact pairs, and its functions make plain descriptions of storages, tensors and
arrays. Arrays themselves are made when it is known which are weights.

Sources, for the facts: Python's `pickletools`, NumPy's `__reduce__` of arrays
and dtypes, and PyTorch's notes on serialization.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

from deeplab2_like.checkpoints.foreign import elements

# Codes of NumPy's dtypes that are read.
_DTYPES = {
    "b1": "bool",
    "?": "bool",
    "u1": "uint8",
    "u2": "uint16",
    "u4": "uint32",
    "u8": "uint64",
    "i1": "int8",
    "i2": "int16",
    "i4": "int32",
    "i8": "int64",
    "f2": "float16",
    "f4": "float32",
    "f8": "float64",
}
_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}


class UnreadableError(Exception):
    """Something that is not read although the pickle may be in order."""


@dataclasses.dataclass(frozen=True, eq=False)
class Name:
    """A name that a pickle may use.

    Attributes:
        make: What is called when the pickle calls the name; None if it must
            not be called.
        element: Type of the elements, for the class of a storage.
    """

    make: Callable[..., Any] | None = None
    element: str | None = None


class Ordered(dict):
    """A dictionary that the pickle made by calling a class.

    Such a dictionary may have attributes, which are ignored.
    """


@dataclasses.dataclass(frozen=True)
class Storage:
    """Elements that lie outside of the pickle.

    Attributes:
        key: Name of the storage in the file.
        element: Type of its elements.
        size: Number of its elements.
    """

    key: str
    element: str
    size: int


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """A view of a storage; offset, shape and strides are not yet checked.

    Attributes:
        storage: Storage of the elements.
        offset: Index of the first element.
        shape: Sizes of the dimensions.
        strides: Distances of neighbors, in elements.
    """

    storage: Storage
    offset: Any
    shape: Any
    strides: Any


@dataclasses.dataclass(eq=False)
class PickledType:
    """A dtype of NumPy: type of the elements, and order of their bytes."""

    element: str
    order: elements.Order = "<"


class PickledNumber:
    """A scalar of NumPy, as measurements beside the weights may be."""


@dataclasses.dataclass(eq=False)
class PickledArray:
    """An array whose elements are in the pickle.

    Attributes:
        data: Bytes of the elements, or a text whose characters stand for them
            (latin-1); None before the pickle sets it.
        element: Type of the elements.
        order: Order of the bytes of an element.
        shape: Sizes of the dimensions, not yet checked.
        is_fortran: Whether the first index changes fastest.
    """

    data: bytes | str | None = None
    element: str = "uint8"
    order: elements.Order = "<"
    shape: Any = ()
    is_fortran: bool = False


def set_state(target: Any, state: Any) -> None:
    """Gives an object the state that a pickle has for it (opcode BUILD).

    Raises:
        TypeError: The object takes no state, or the state is no such state.
        UnreadableError: The state is of an array that is not read.
    """
    if isinstance(target, Ordered):
        return
    if isinstance(target, PickledType) and isinstance(state, tuple):
        # Version, order, subarray, names, fields, size, alignment, flags.
        if state[2:5] != (None, None, None):
            raise UnreadableError("contains an array of records")
        if state[0] != 3 or state[1] not in ("<", ">", "|", "="):
            raise TypeError("state of a dtype")
        if state[5:] != (-1, -1, 0):
            raise TypeError("state of a dtype")
        target.order = ">" if state[1] == ">" else "<"
        return
    if isinstance(target, PickledArray) and isinstance(state, tuple):
        version, shape, dtype, is_fortran, data = state
        if version != 1 or is_fortran not in (0, 1):
            raise TypeError("state of an array")
        _fill(target, data, dtype, shape, bool(is_fortran))
        return
    raise TypeError("state of an object that has none")


def _fill(
    array: PickledArray, data: Any, dtype: Any, shape: Any, is_fortran: bool
) -> PickledArray:
    if not isinstance(dtype, PickledType):
        raise TypeError("dtype")
    if not isinstance(data, (bytes, str)) or not isinstance(shape, tuple):
        raise TypeError("data of an array")
    array.data, array.shape, array.is_fortran = data, shape, is_fortran
    array.element, array.order = dtype.element, dtype.order
    return array


def _make_ordered(pairs: Any = ()) -> Ordered:
    # Python 2 writes the pairs as an argument. Keys are texts: their hashes
    # are seeded, so that a file cannot choose keys that collide.
    if isinstance(pairs, dict):
        return Ordered(pairs)
    made = Ordered()
    for key, value in pairs:
        made[make_key(key)] = value
    return made


def make_key(key: Any) -> str:
    """Returns the text for a key of a dictionary; numbers become "<number>".

    Raises:
        UnreadableError: It is of another kind.
    """
    if isinstance(key, str):
        return key
    if isinstance(key, bytes):
        return key.decode("latin-1")
    if type(key) is int and abs(key) < 2**63:
        return f"<{key}>"
    raise UnreadableError(
        "contains a dictionary with keys that are neither texts nor numbers"
    )


def _make_size(sizes: Any = ()) -> Any:
    if not isinstance(sizes, tuple):
        raise TypeError("torch.Size")
    return sizes


def _make_tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, *_others: Any
) -> Tensor:
    # Others: whether it takes gradients, hooks, metadata.
    if not isinstance(storage, Storage):
        raise TypeError("storage")
    return Tensor(storage, offset, shape, strides)


def _make_parameter(tensor: Any, *_others: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise TypeError("tensor")
    return tensor


def _make_dtype(code: Any, align: Any, copy: Any) -> PickledType:
    if align not in (0, 1) or copy not in (0, 1):
        raise TypeError("options of a dtype")
    match = re.fullmatch(r"([<>|=]?)(.+)", code)
    if match is None or match[2] not in _DTYPES:
        raise UnreadableError(f"contains an array of the dtype {code[:20]!r}")
    return PickledType(_DTYPES[match[2]], ">" if match[1] == ">" else "<")


def _make_array(array_class: Any, shape: Any, code: Any) -> PickledArray:
    # The state follows; these are those of an array without elements.
    if array_class is not NAMES["numpy", "ndarray"]:
        raise TypeError("class of an array")
    if shape != (0,) or code not in ("b", b"b"):
        raise TypeError("array without elements")
    return PickledArray()


def _make_scalar(_dtype: Any, _data: Any) -> PickledNumber:
    return PickledNumber()


def _make_from_buffer(
    data: Any, dtype: Any, shape: Any, order: Any
) -> PickledArray:
    return _fill(PickledArray(), data, dtype, shape, order == "F")


def _encode(text: Any, encoding: Any) -> str:
    # Bytes in protocols up to 2. The text stands for them, see `PickledArray`.
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise TypeError("encoding")
    return text


def _make_no_bytes() -> bytes:
    return b""


def _list_names() -> dict[tuple[str, str], Name]:
    makers: dict[tuple[str, str], Callable[..., Any] | None] = {
        ("collections", "OrderedDict"): _make_ordered,
        ("collections", "Counter"): _make_ordered,
        ("torch", "Size"): _make_size,
        ("torch._utils", "_rebuild_tensor"): _make_tensor,
        ("torch._utils", "_rebuild_tensor_v2"): _make_tensor,
        ("torch._utils", "_rebuild_parameter"): _make_parameter,
        ("numpy", "dtype"): _make_dtype,
        ("numpy", "ndarray"): None,
        ("_codecs", "encode"): _encode,
        # No bytes at all, in protocols up to 2.
        ("__builtin__", "bytes"): _make_no_bytes,
    }
    for core in ("numpy.core", "numpy._core"):
        makers[f"{core}.multiarray", "_reconstruct"] = _make_array
        makers[f"{core}.multiarray", "scalar"] = _make_scalar
        makers[f"{core}.numeric", "_frombuffer"] = _make_from_buffer
    names = {pair: Name(make) for pair, make in makers.items()}
    for name, element in _STORAGES.items():
        names["torch", name] = Name(element=element)
    return names


NAMES = _list_names()
