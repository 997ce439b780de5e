# SPDX-License-Identifier: Apache-2.0
"""The REST interface of TensorFlow Serving, version 1.

https://www.tensorflow.org/tfx/serving/api_rest: state, metadata and `:predict`
of models, by newest version, number or label.
"""

import dataclasses
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deeplab2_like.server import failures, signatures, tensor_json
from deeplab2_like.server.http_frame import Frame, in_thread, make_json
from deeplab2_like.server.signatures import Signature, TensorInfo
from deeplab2_like.server.versions import ServedModel, State

_PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)"
    r"(/versions/(?P<version>\d{1,18})|/labels/(?P<label>[^/:]+))?"
    r"(:(?P<method>classify|regress|predict)|(?P<metadata>/metadata))?",
    re.IGNORECASE,
)
_TYPES = {
    "bool": "DT_BOOL",
    "float16": "DT_HALF",
    "float32": "DT_FLOAT",
    "float64": "DT_DOUBLE",
}


@dataclasses.dataclass(frozen=True)
class _Target:
    name: str
    version: int | None
    label: str | None
    method: str | None
    is_metadata: bool


def _parse_path(request: Request) -> _Target:
    raw = request.scope.get("raw_path") or request.scope["path"].encode()
    path = raw.partition(b"?")[0].decode("latin-1")
    match = _PATH.fullmatch(path)
    verb = "POST" if match and match["method"] else "GET"
    if path.rstrip("/") == "/v1/models" and request.method == "GET":
        raise failures.invalid("Missing model name in request.")
    if match is None or request.method != verb:
        raise failures.invalid(
            f"Malformed request: {request.method} {path[:200]}"
        )
    label = match["label"]
    return _Target(
        urllib.parse.unquote(match["name"]),
        int(match["version"]) if match["version"] else None,
        urllib.parse.unquote(label) if label else None,
        match["method"].lower() if match["method"] else None,
        bool(match["metadata"]),
    )


def make_routes(frame: Frame) -> list[Route]:
    """Makes the routes below `/v1/models`."""

    async def handle(request: Request) -> Response:
        target = _parse_path(request)
        model = frame.store.get(target.name)
        request.state.model = target.name
        if target.method == "predict":
            with frame.admission.admit():
                return await _predict(frame, request, model, target)
        if target.method:
            raise failures.RequestError(
                failures.Kind.UNSUPPORTED,
                f"The model has no signature for {target.method}. Use predict.",
            )
        if target.is_metadata:
            return make_json(_describe_model(model, target))
        return make_json(_describe_states(model, target))

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    handler = frame.wrap(handle)
    return [
        Route("/v1/models", handler, methods=methods),
        Route("/v1/models/{rest:path}", handler, methods=methods),
    ]


async def _predict(
    frame: Frame, request: Request, model: ServedModel, target: _Target
) -> Response:
    body = await frame.read_body(request)
    _, batcher = model.get(target.version, target.label)
    known = batcher.model.signatures

    def find(name: str) -> Signature:
        return signatures.find(known, name)

    asked = await in_thread(tensor_json.parse_predict, body, find)
    outputs = await frame.run(batcher, asked.signature_name, asked.inputs)
    text = await in_thread(tensor_json.format_predict, outputs, asked.is_row)
    return Response(text, media_type="application/json")


def _describe_states(model: ServedModel, target: _Target) -> dict[str, Any]:
    statuses = model.list_statuses()
    version = target.version
    if target.label is not None:
        version, _ = model.get(label=target.label)
    if version is not None:
        statuses = [s for s in statuses if s.version == version]
    if not statuses:
        which = "" if version is None else f" with version {version}"
        raise failures.RequestError(
            failures.Kind.NOT_FOUND,
            f"Could not find any versions of model {target.name}{which}",
        )
    return {
        "model_version_status": [
            {
                "version": str(status.version),
                "state": status.state.value,
                "status": {
                    "error_code": "UNKNOWN" if status.problem else "OK",
                    "error_message": status.problem,
                },
            }
            for status in statuses
        ]
    }


def is_available(model: ServedModel, version: int) -> bool:
    """Returns whether a version answers requests."""
    return any(
        s.version == version and s.state == State.AVAILABLE
        for s in model.list_statuses()
    )


def _describe_model(model: ServedModel, target: _Target) -> dict[str, Any]:
    version, batcher = model.get(target.version, target.label)
    described = {
        name: {
            "inputs": _describe_tensors(name, signature.inputs),
            "outputs": _describe_tensors(name, signature.outputs),
            "method_name": "tensorflow/serving/predict",
        }
        for name, signature in batcher.model.signatures.items()
    }
    return {
        "model_spec": {
            "name": target.name,
            "signature_name": "",
            "version": str(version),
        },
        "metadata": {"signature_def": {"signature_def": described}},
    }


def _describe_tensors(
    signature: str, infos: Mapping[str, TensorInfo]
) -> dict[str, Any]:
    return {
        name: {
            "dtype": _TYPES.get(info.dtype, f"DT_{info.dtype.upper()}"),
            "tensor_shape": {
                "dim": [
                    {"size": str(-1 if side is None else side), "name": ""}
                    for side in info.shape
                ],
                "unknown_rank": False,
            },
            "name": f"{signature}_{name}:0",
        }
        for name, info in infos.items()
    }
