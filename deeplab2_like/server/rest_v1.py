# SPDX-License-Identifier: Apache-2.0
"""The REST interface of TensorFlow Serving, version 1.

https://www.tensorflow.org/tfx/serving/api_rest: state, metadata and `:predict`
of models, by newest version, number or label.
"""

import re
import urllib.parse
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deeplab2_like.server import (
    descriptions,
    failures,
    signatures,
    tensor_json,
)
from deeplab2_like.server.backend import Target
from deeplab2_like.server.http_frame import Frame, make_json
from deeplab2_like.server.signatures import Signature

_PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)"
    r"(/versions/(?P<version>\d{1,18})|/labels/(?P<label>[^/:]+))?"
    r"(:(?P<method>classify|regress|predict)|(?P<metadata>/metadata))?",
    re.IGNORECASE,
)


def _parse_path(request: Request) -> tuple[Target, str | None, bool]:
    """Returns the model, the method, and whether metadata is asked for."""
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
    target = Target(
        urllib.parse.unquote(match["name"]),
        int(match["version"]) if match["version"] else None,
        urllib.parse.unquote(label) if label else None,
    )
    method = match["method"].lower() if match["method"] else None
    return target, method, bool(match["metadata"])


def make_routes(frame: Frame) -> list[Route]:
    """Makes the routes below `/v1/models`."""

    async def handle(request: Request) -> Response:
        target, method, is_metadata = _parse_path(request)
        model = frame.store.get(target.name)
        request.state.model = target.name
        if method == "predict":
            with frame.admission.admit() as share:
                body = await frame.read_body(request, share)
                return await _predict(frame, body, target)
        if method:
            raise descriptions.no_such_method(method)
        if is_metadata:
            return make_json(descriptions.describe_model(model, target))
        return make_json(descriptions.describe_states(model, target))

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    handler = frame.wrap(handle)
    return [
        Route("/v1/models", handler, methods=methods),
        Route("/v1/models/{rest:path}", handler, methods=methods),
    ]


async def _predict(frame: Frame, body: bytes, target: Target) -> Response:
    def parse(known: Mapping[str, Signature]) -> tensor_json.PredictRequest:
        def find(name: str) -> Signature:
            return signatures.find(known, name)

        return tensor_json.parse_predict(body, find)

    answer = await frame.predict(target, parse, num_bytes=len(body))
    text = await frame.turns.run(
        signatures.count_bytes(answer.outputs),
        tensor_json.format_predict,
        answer.outputs,
        answer.asked.is_row,
    )
    return Response(text, media_type="application/json")
