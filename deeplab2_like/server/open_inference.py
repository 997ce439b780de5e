# SPDX-License-Identifier: Apache-2.0
"""Requests and answers of the Open Inference Protocol, version 2, as JSON.

With its binary extension: the header `Inference-Header-Content-Length` gives
the length of the JSON, and tensors follow it as bytes. In JSON, tensors of
bytes are text, or base64 where their parameter `content_type` is "base64", as
MLServer's.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from deeplab2_like.server import (
    failures,
    infer_request,
    signatures,
    tensor_bytes,
    tensor_json,
)
from deeplab2_like.server.infer_request import InferRequest, Input
from deeplab2_like.server.signatures import Arrays, Signature, TensorInfo


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
    inputs = [_read_input(entry, binary) for entry in entries]
    parameters = _read_parameters(document, "request")
    signature_name = infer_request.choose_signature(
        parameters.get("signature_name"), [i.name for i in inputs], known
    )
    signature = known[signature_name]
    arrays = infer_request.read_inputs(inputs, signature)
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
        arrays,
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


def _read_input(entry: Mapping[str, Any], binary: _Tail) -> Input:
    name = _read_name(entry, "input")

    def read(info: TensorInfo) -> npt.NDArray[Any]:
        parameters = _read_parameters(entry, f"input {name}")
        size = parameters.get("binary_data_size")
        if size is None:
            return _read_json(name, entry, info, parameters)
        if type(size) is not int or not 0 <= size <= binary.rest():
            raise failures.invalid(
                f"Input {name} has the binary_data_size "
                f"{failures.shorten(size)}. Behind the JSON are "
                f"{binary.rest()} bytes for it."
            )
        return tensor_bytes.parse_tensor(name, binary.take(size), info)

    return Input(name, entry.get("datatype"), entry.get("shape"), read)


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


def _read_outputs(
    document: Mapping[str, Any],
    parameters: Mapping[str, Any],
    signature: Signature,
) -> dict[str, bool]:
    default = parameters.get("binary_data_output", False) is True
    wanted = []
    for entry in _read_list(document, "outputs"):
        name = _read_name(entry, "output")
        options = _read_parameters(entry, f"output {failures.shorten(name)}")
        wanted.append((name, options.get("binary_data", default) is True))
    return infer_request.choose_outputs(wanted, signature, default)


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
        entry: dict[str, Any] = {
            "name": name,
            "shape": list(array.shape),
            "datatype": tensor_bytes.name_datatype(array),
        }
        if is_binary:
            data = tensor_bytes.format_tensor(array)
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
