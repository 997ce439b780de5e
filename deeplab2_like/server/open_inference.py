# SPDX-License-Identifier: Apache-2.0
"""Requests and answers of the Open Inference Protocol, version 2.

JSON, and its binary extension: the header `Inference-Header-Content-Length`
gives the length of the JSON, and tensors follow it as bytes, little endian. The
protocol has no signatures; the request parameter `signature_name` names one,
and otherwise the names of the inputs choose it. In JSON, tensors of bytes are
text, or base64 where their parameter `content_type` is "base64", as MLServer's.
"""

import base64
import dataclasses
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like.server import failures, signatures, tensor_json
from deeplab2_like.server.signatures import Arrays, Signature, TensorInfo

# Of signatures with the same inputs the first one.
_PREFERRED = (signatures.DEFAULT_SIGNATURE, "encoded_compact", "encoded")
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


@dataclasses.dataclass(frozen=True)
class InferRequest:
    """An inference request.

    Attributes:
        signature_name: Name of the signature.
        inputs: The inputs by name.
        outputs: Names of the wanted outputs and whether each is binary.
        id: What the client calls the request; None if nothing.
    """

    signature_name: str
    inputs: Arrays
    outputs: Mapping[str, bool]
    id: str | None


def parse_infer(
    body: bytes,
    json_length: str | None,
    known: Mapping[str, Signature],
) -> InferRequest:
    """Parses the body of an inference request.

    Args:
        body: The bytes of the body.
        json_length: Value of the header `Inference-Header-Content-Length`;
            None where there is none.
        known: The signatures of the model.

    Raises:
        RequestError: The body is not as it must be.
    """
    length = _parse_length(json_length, len(body))
    document = tensor_json.load_object(body[:length])
    binary = _Tail(body[length:])
    entries = _read_list(document, "inputs")
    if not entries:
        raise failures.invalid("The request has no inputs. Send at least one.")
    names = [_read_name(entry, "input") for entry in entries]
    if len(set(names)) < len(names):
        raise failures.invalid("The request has an input twice.")
    parameters = _read_parameters(document, "request")
    signature_name = _choose_signature(parameters, names, known)
    signature = signatures.find(known, signature_name)
    inputs = {}
    for name, entry in zip(names, entries, strict=True):
        if name not in signature.inputs:
            raise failures.invalid(
                f"There is no input {failures.shorten(name)}. The signature "
                f"takes {', '.join(sorted(signature.inputs))}."
            )
        inputs[name] = _read_input(name, entry, signature.inputs[name], binary)
    if binary.rest():
        raise failures.invalid(
            f"Behind the inputs are {binary.rest()} more bytes. The sum of "
            "binary_data_size must be what follows the JSON."
        )
    request_id = document.get("id")
    if not isinstance(request_id, str | None):
        raise failures.invalid("id must be a string.")
    return InferRequest(
        signature_name,
        inputs,
        _read_outputs(document, parameters, signature),
        request_id,
    )


def _parse_length(json_length: str | None, size: int) -> int:
    if json_length is None:
        return size
    is_number = json_length.isascii() and json_length.isdigit()
    if not is_number or len(json_length) > 15 or int(json_length) > size:
        raise failures.invalid(
            "Inference-Header-Content-Length is "
            f"{failures.shorten(json_length)}. It must be the length of the "
            f"JSON, at most that of the body, {size}."
        )
    return int(json_length)


class _Tail:
    """The bytes behind the JSON, which inputs take in order."""

    def __init__(self, data: bytes):
        self._data = data
        self._place = 0

    def rest(self) -> int:
        return len(self._data) - self._place

    def take(self, count: int) -> bytes:
        self._place += count
        return self._data[self._place - count : self._place]


def _read_list(document: Mapping[str, Any], key: str) -> list[Any]:
    value = document.get(key, [])
    if not isinstance(value, list) or not all(
        isinstance(entry, dict) for entry in value
    ):
        raise failures.invalid(f"{key} must be a list of objects.")
    return value


def _read_parameters(owner: Mapping[str, Any], what: str) -> dict[str, Any]:
    value = owner.get("parameters", {})
    if not isinstance(value, dict):
        raise failures.invalid(f"parameters of the {what} must be an object.")
    return value


def _read_name(entry: Mapping[str, Any], what: str) -> str:
    name = entry.get("name")
    if not isinstance(name, str):
        raise failures.invalid(f"Each {what} must have a name, a string.")
    return name


def _choose_signature(
    parameters: Mapping[str, Any],
    names: Sequence[str],
    known: Mapping[str, Signature],
) -> str:
    chosen = parameters.get("signature_name")
    if chosen is not None:
        if not isinstance(chosen, str):
            raise failures.invalid("signature_name must be a string.")
        return chosen
    for name in _PREFERRED:
        if name in known and set(known[name].inputs) == set(names):
            return name
    return signatures.DEFAULT_SIGNATURE


def _read_input(
    name: str, entry: Mapping[str, Any], info: TensorInfo, binary: _Tail
) -> npt.NDArray[Any]:
    datatype = DATATYPES[info.dtype]
    if entry.get("datatype") != datatype:
        raise failures.invalid(
            f"Input {name} has the datatype "
            f"{failures.shorten(entry.get('datatype'))}. It must be {datatype}."
        )
    shape = entry.get("shape")
    if (
        not isinstance(shape, list)
        or len(shape) > tensor_json.MAX_RANK
        or not all(type(side) is int and 0 <= side < 2**31 for side in shape)
    ):
        raise failures.invalid(
            f"Input {name} has the shape {failures.shorten(shape)}. It must be "
            "a list of whole numbers, at least 0."
        )
    parameters = _read_parameters(entry, f"input {name}")
    size = parameters.get("binary_data_size")
    if size is None:
        array = _read_json(name, entry, info, parameters)
    else:
        if type(size) is not int or not 0 <= size <= binary.rest():
            raise failures.invalid(
                f"Input {name} has the binary_data_size "
                f"{failures.shorten(size)}. Behind the JSON are "
                f"{binary.rest()} bytes for it."
            )
        array = _read_binary(name, binary.take(size), info)
    count = signatures.count_values(tuple(shape))
    if array.size != count:
        raise failures.invalid(
            f"Input {name} has {array.size} values. The shape "
            f"{failures.shorten(shape)} needs {count}."
        )
    return array.reshape(shape)


def _read_json(
    name: str,
    entry: Mapping[str, Any],
    info: TensorInfo,
    parameters: Mapping[str, Any],
) -> npt.NDArray[Any]:
    data = entry.get("data")
    if not isinstance(data, list):
        raise failures.invalid(
            f"Input {name} has no list of data. Send data, or "
            "binary_data_size and the bytes behind the JSON."
        )
    array = tensor_json.parse_tensor(name, data, info).reshape(-1)
    if (
        info.dtype == signatures.STRING
        and parameters.get("content_type") == "base64"
    ):
        for index, text in enumerate(array):
            array[index] = tensor_json.decode_base64(name, text)
    return array


def _read_binary(name: str, data: bytes, info: TensorInfo) -> npt.NDArray[Any]:
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
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _read_outputs(
    document: Mapping[str, Any],
    parameters: Mapping[str, Any],
    signature: Signature,
) -> dict[str, bool]:
    default = parameters.get("binary_data_output", False) is True
    wanted = {}
    for entry in _read_list(document, "outputs"):
        name = _read_name(entry, "output")
        if name not in signature.outputs:
            raise failures.invalid(
                f"There is no output {failures.shorten(name)}. The signature "
                f"gives {', '.join(sorted(signature.outputs))}."
            )
        options = _read_parameters(entry, f"output {name}")
        wanted[name] = options.get("binary_data", default) is True
    return wanted or dict.fromkeys(signature.outputs, default)


def format_infer(
    request: InferRequest, outputs: Arrays, model: str, version: int
) -> tuple[bytes, int | None]:
    """Writes the answer to an inference request.

    Args:
        request: The request.
        outputs: All outputs of the signature by name.
        model: Name of the model.
        version: Its version.

    Returns:
        The body, and the length of the JSON in it if tensors follow as bytes.
    """
    entries, tail = [], []
    for name, is_binary in request.outputs.items():
        array = outputs[name]
        is_text = array.dtype == object
        dtype = signatures.STRING if is_text else array.dtype.name
        entry: dict[str, Any] = {
            "name": name,
            "shape": list(array.shape),
            "datatype": DATATYPES[dtype],
        }
        if is_binary:
            data = _to_binary(array)
            entry["parameters"] = {"binary_data_size": len(data)}
            tail.append(data)
        elif is_text and name.endswith("_bytes"):
            entry["parameters"] = {"content_type": "base64"}
            entry["data"] = [
                base64.b64encode(value).decode("ascii")
                for value in array.reshape(-1)
            ]
        else:
            flat = array.reshape(-1)
            entry["data"] = tensor_json.format_tensor(name, flat)
        entries.append(entry)
    document = {
        "model_name": model,
        "model_version": str(version),
        **({} if request.id is None else {"id": request.id}),
        "outputs": entries,
    }
    text = json.dumps(document, separators=(",", ":")).encode("ascii")
    if not tail:
        return text, None
    return b"".join([text, *tail]), len(text)


def _to_binary(array: npt.NDArray[Any]) -> bytes:
    if array.dtype != object:
        return array.astype(array.dtype.newbyteorder("<")).tobytes()
    return b"".join(
        struct.pack("<I", len(value)) + value for value in array.reshape(-1)
    )


def describe_tensors(infos: Mapping[str, TensorInfo]) -> list[dict[str, Any]]:
    """Makes the list of tensors of a model's metadata."""
    return [
        {
            "name": name,
            "datatype": DATATYPES[info.dtype],
            "shape": [-1 if side is None else side for side in info.shape],
        }
        for name, info in sorted(infos.items())
    ]
