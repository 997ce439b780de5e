# SPDX-License-Identifier: Apache-2.0
"""Requests and answers of the Open Inference Protocol, version 2, as messages.

Values come in `contents`, in the field of their type, or as bytes in
`raw_input_contents`; those of the answer have the form of the request.
"""

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from deeplab2_like.protos import open_inference_pb2 as protocol
from deeplab2_like.server import (
    failures,
    infer_request,
    signatures,
    tensor_bytes,
    typed_fields,
)
from deeplab2_like.server.infer_request import InferRequest, Input
from deeplab2_like.server.signatures import Arrays, Signature, TensorInfo

# There is none for FP16.
_FIELDS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def parse_infer(
    request: protocol.ModelInferRequest, known: Mapping[str, Signature]
) -> InferRequest:
    """Reads an inference request.

    Args:
        request: The request.
        known: The signatures of the model.

    Raises:
        RequestError: The request is not as it must be.
    """
    for what, entries in (
        ("inputs", request.inputs),
        ("outputs", request.outputs),
    ):
        most = max(
            len(getattr(signature, what)) for signature in known.values()
        )
        if len(entries) > most:
            raise failures.invalid(
                f"The request has {len(entries)} {what}. No signature has more "
                f"than {most}."
            )
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise failures.invalid(
            f"raw_input_contents has {len(raw)} entries for "
            f"{len(request.inputs)} inputs. Send one for each, or none."
        )
    inputs = [
        _read_input(tensor, raw[index] if raw else None)
        for index, tensor in enumerate(request.inputs)
    ]
    signature_name = infer_request.choose_signature(
        _read_parameter(request.parameters, "signature_name"),
        [i.name for i in inputs],
        known,
    )
    signature = known[signature_name]
    is_binary = bool(raw)
    wanted = [(output.name, is_binary) for output in request.outputs]
    return InferRequest(
        signature_name,
        infer_request.read_inputs(inputs, signature),
        infer_request.choose_outputs(wanted, signature, is_binary),
        request.id,
    )


def _read_parameter(
    parameters: Mapping[str, protocol.InferParameter], name: str
) -> Any:
    if name not in parameters:
        return None
    kind = parameters[name].WhichOneof("parameter_choice")
    return None if kind is None else getattr(parameters[name], kind)


def _read_input(tensor: protocol.InferTensor, raw: bytes | None) -> Input:
    name = tensor.name

    def read(info: TensorInfo) -> npt.NDArray[Any]:
        if raw is not None:
            if tensor.HasField("contents"):
                raise failures.invalid(
                    f"Input {name} has contents beside raw_input_contents. "
                    "Send one of them."
                )
            return tensor_bytes.parse_tensor(name, raw, info)
        if tensor.datatype not in _FIELDS:
            raise failures.invalid(
                f"Input {name} has no field for {tensor.datatype}. Send "
                "raw_input_contents."
            )
        field = _FIELDS[tensor.datatype]
        values = getattr(tensor.contents, field)
        return typed_fields.parse_tensor(name, values, info)

    shape = list(tensor.shape[: signatures.MAX_RANK + 1])
    return Input(name, tensor.datatype, shape, read)


def format_infer(
    request: InferRequest, outputs: Arrays, model: str, version: int
) -> protocol.ModelInferResponse:
    """Writes the answer to an inference request.

    Args:
        request: The request.
        outputs: All outputs of the signature by name.
        model: Name of the model.
        version: Its version.
    """
    response = protocol.ModelInferResponse(
        model_name=model, model_version=str(version), id=request.id or ""
    )
    datatypes = {
        name: tensor_bytes.name_datatype(outputs[name])
        for name in request.outputs
    }
    is_raw = any(request.outputs.values()) or any(
        datatype not in _FIELDS for datatype in datatypes.values()
    )
    for name, datatype in datatypes.items():
        array = outputs[name]
        entry = response.outputs.add(
            name=name, datatype=datatype, shape=array.shape
        )
        if is_raw:
            data = tensor_bytes.format_tensor(array)
            response.raw_output_contents.append(data)
        else:
            values = typed_fields.format_tensor(array)
            getattr(entry.contents, _FIELDS[datatype]).extend(values)
    return response
