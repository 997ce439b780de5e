# SPDX-License-Identifier: Apache-2.0
"""Tensors as TensorFlow's messages, `TensorProto`.

Behavior is that of `tensorflow/core/framework/tensor.cc`, but a message whose
values do not fit its shape is refused: TensorFlow fills up what is missing.
Messages are made by those that hold them, so that nothing is imported of
TensorFlow.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like.server import (
    descriptions,
    failures,
    signatures,
    tensor_bytes,
    typed_fields,
)
from deeplab2_like.server.signatures import TensorInfo

_FIELDS = {
    "bool": "bool_val",
    "uint8": "int_val",
    "uint16": "int_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "int8": "int_val",
    "int16": "int_val",
    "int32": "int_val",
    "int64": "int64_val",
    "float16": "half_val",
    "float32": "float_val",
    "float64": "double_val",
    signatures.STRING: "string_val",
}


def parse_tensor(
    name: str, proto: Any, info: TensorInfo, max_bytes: int
) -> npt.NDArray[Any]:
    """Makes an array of a message.

    Args:
        name: Name of the tensor, for errors.
        proto: The message. One value stands for equal ones everywhere.
        info: The tensor; only its type is looked at.
        max_bytes: Most bytes of an array that is filled with one value.

    Raises:
        RequestError: It is of another type, or its values do not fit its shape.
    """
    wanted = descriptions.name_type(info.dtype)
    if proto.dtype != _types(proto)[wanted].number:
        raise failures.invalid(
            f"Input {name} has the type {_name_type(proto)}. It must be "
            f"{wanted}."
        )
    if proto.tensor_shape.unknown_rank:
        raise failures.invalid(
            f"Input {name} has a shape of unknown rank. It must be "
            f"{info.describe()}."
        )
    if len(proto.tensor_shape.dim) > signatures.MAX_RANK:
        raise failures.invalid(
            f"Input {name} has {len(proto.tensor_shape.dim)} axes. It must be "
            f"{info.describe()}."
        )
    sides = [dim.size for dim in proto.tensor_shape.dim]
    shape = signatures.check_shape(name, sides)
    values = _read_values(name, proto, info)
    count = signatures.count_values(shape)
    if values.size == 1 and count > 1 and not proto.tensor_content:
        if count * values.itemsize > max_bytes:
            raise failures.invalid(
                f"Input {name} has one value for the shape "
                f"{failures.shorten(sides)}, more than {max_bytes} bytes. Send "
                "a smaller one."
            )
        values = np.repeat(values, count)
    return signatures.give_shape(name, values, shape)


def _read_values(name: str, proto: Any, info: TensorInfo) -> npt.NDArray[Any]:
    field = _FIELDS[info.dtype]
    values = getattr(proto, field)
    if proto.tensor_content:
        if info.dtype == signatures.STRING or values:
            raise failures.invalid(
                f"Input {name} has tensor_content. Send "
                + (f"{field}." if not values else f"it or {field}, not both.")
            )
        return tensor_bytes.parse_tensor(name, proto.tensor_content, info)
    if info.dtype == "float16":
        # Their bits, as whole numbers.
        bits = typed_fields.parse_tensor(name, values, TensorInfo("uint16", ()))
        return bits.view(np.float16)
    return typed_fields.parse_tensor(name, values, info)


def _types(proto: Any) -> Mapping[str, Any]:
    """Returns the types of TensorFlow by name."""
    types: Mapping[str, Any] = proto.DESCRIPTOR.fields_by_name[
        "dtype"
    ].enum_type.values_by_name
    return types


def _name_type(proto: Any) -> str:
    names = {value.number: name for name, value in _types(proto).items()}
    return names.get(proto.dtype, str(proto.dtype))


def format_tensor(array: npt.NDArray[Any], proto: Any) -> None:
    """Fills a message with an array, in the field of its type.

    As TensorFlow Serving does: clients in other languages read that field.

    Args:
        array: The array.
        proto: The message, which is empty.
    """
    dtype = signatures.name_dtype(array)
    proto.dtype = _types(proto)[descriptions.name_type(dtype)].number
    proto.tensor_shape.SetInParent()
    for side in array.shape:
        proto.tensor_shape.dim.add(size=side)
    if dtype == "float16":
        array = array.view(np.uint16)
    values = typed_fields.format_tensor(array)
    getattr(proto, _FIELDS[dtype]).extend(values)
