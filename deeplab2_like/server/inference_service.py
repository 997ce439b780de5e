# SPDX-License-Identifier: Apache-2.0
"""The Open Inference Protocol, version 2, over gRPC.

https://github.com/kserve/open-inference-protocol: health, metadata, inference;
`INFERENCE` at the end.
"""

from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format

from deeplab2_like.protos import open_inference_pb2 as protocol
from deeplab2_like.server import (
    descriptions,
    open_inference_protos,
    versions,
)
from deeplab2_like.server.backend import Target, in_thread
from deeplab2_like.server.grpc_frame import Call, Description, Method
from deeplab2_like.server.infer_request import InferRequest
from deeplab2_like.server.signatures import Signature


def _make_target(name: str, version: str) -> Target:
    return Target(name, versions.parse_version(version) if version else None)


async def _live(_: Any, __: Call) -> protocol.ServerLiveResponse:
    return protocol.ServerLiveResponse(live=True)


async def _ready(_: Any, call: Call) -> protocol.ServerReadyResponse:
    return protocol.ServerReadyResponse(ready=call.backend.store.is_ready)


async def _model_ready(
    request: protocol.ModelReadyRequest, call: Call
) -> protocol.ModelReadyResponse:
    target = _make_target(request.name, request.version)
    is_ready = descriptions.is_ready(call.find_model(target), target)
    return protocol.ModelReadyResponse(ready=is_ready)


async def _describe(_: Any, __: Call) -> protocol.ServerMetadataResponse:
    response = protocol.ServerMetadataResponse()
    json_format.ParseDict(descriptions.describe_server(), response)
    return response


async def _describe_model(
    request: protocol.ModelMetadataRequest, call: Call
) -> protocol.ModelMetadataResponse:
    target = _make_target(request.name, request.version)
    described = descriptions.describe_tensors(call.find_model(target), target)
    response = protocol.ModelMetadataResponse()
    json_format.ParseDict(described, response)
    return response


async def _infer(
    request: protocol.ModelInferRequest, call: Call
) -> protocol.ModelInferResponse:
    target = _make_target(request.model_name, request.model_version)
    call.find_model(target)

    def parse(known: Mapping[str, Signature]) -> InferRequest:
        return open_inference_protos.parse_infer(request, known)

    answer = await call.backend.predict(target, parse, seconds=call.seconds)
    response = await in_thread(
        open_inference_protos.format_infer,
        answer.asked,
        answer.outputs,
        target.name,
        answer.version,
    )
    assert isinstance(response, protocol.ModelInferResponse)
    return response


INFERENCE = Description(
    "inference.GRPCInferenceService",
    [
        Method("ServerLive", protocol.ServerLiveRequest, _live, True),
        Method("ServerReady", protocol.ServerReadyRequest, _ready, True),
        Method("ModelReady", protocol.ModelReadyRequest, _model_ready),
        Method("ServerMetadata", protocol.ServerMetadataRequest, _describe),
        Method("ModelMetadata", protocol.ModelMetadataRequest, _describe_model),
        Method(
            "ModelInfer", protocol.ModelInferRequest, _infer, is_prediction=True
        ),
    ],
)
