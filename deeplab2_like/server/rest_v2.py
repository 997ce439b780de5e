# SPDX-License-Identifier: Apache-2.0
"""The Open Inference Protocol, version 2, over HTTP.

https://github.com/kserve/open-inference-protocol: health, metadata, inference,
and the binary extension.
"""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deeplab2_like.server import (
    descriptions,
    open_inference,
    signatures,
    versions,
)
from deeplab2_like.server.backend import Target
from deeplab2_like.server.http_frame import Frame, make_json
from deeplab2_like.server.signatures import Signature
from deeplab2_like.server.versions import ServedModel

_LENGTH_HEADER = "Inference-Header-Content-Length"


def make_routes(frame: Frame) -> list[Route]:
    """Makes the routes below `/v2`."""
    store = frame.store

    async def live(_: Request) -> Response:
        return make_json({"live": True})

    async def ready(_: Request) -> Response:
        is_ready = store.is_ready
        return make_json({"ready": is_ready}, 200 if is_ready else 503)

    async def server(_: Request) -> Response:
        return make_json(descriptions.describe_server())

    async def model_ready(request: Request) -> Response:
        target, model = _find_model(frame, request)
        is_ready = descriptions.is_ready(model, target)
        document = {"name": target.name, "ready": is_ready}
        return make_json(document, 200 if is_ready else 503)

    async def metadata(request: Request) -> Response:
        target, model = _find_model(frame, request)
        return make_json(descriptions.describe_tensors(model, target))

    async def infer(request: Request) -> Response:
        target, _ = _find_model(frame, request)
        with frame.admission.admit() as share:
            body = await frame.read_body(request, share)
            return await _infer(frame, request, body, target)

    routes = [
        Route("/v2", frame.wrap(server), methods=["GET"]),
        Route("/v2/health/live", frame.wrap(live, is_public=True)),
        Route("/v2/health/ready", frame.wrap(ready, is_public=True)),
    ]
    for base in (
        "/v2/models/{name}",
        "/v2/models/{name}/versions/{version}",
    ):
        routes += [
            Route(base, frame.wrap(metadata), methods=["GET"]),
            Route(f"{base}/ready", frame.wrap(model_ready), methods=["GET"]),
            Route(f"{base}/infer", frame.wrap(infer), methods=["POST"]),
        ]
    return routes


def _find_model(frame: Frame, request: Request) -> tuple[Target, ServedModel]:
    name = request.path_params["name"]
    model = frame.store.get(name)
    request.state.model = name
    text = request.path_params.get("version")
    version = None if text is None else versions.parse_version(text)
    return Target(name, version), model


async def _infer(
    frame: Frame, request: Request, body: bytes, target: Target
) -> Response:
    json_length = request.headers.get(_LENGTH_HEADER)

    def parse(known: Mapping[str, Signature]) -> open_inference.InferRequest:
        return open_inference.parse_infer(body, json_length, known)

    answer = await frame.predict(target, parse, num_bytes=len(body))
    text, length = await frame.turns.run(
        signatures.count_bytes(answer.outputs),
        open_inference.format_infer,
        answer.asked,
        answer.outputs,
        target.name,
        answer.version,
    )
    if length is None:
        return Response(text, media_type="application/json")
    headers = {_LENGTH_HEADER: str(length)}
    return Response(text, 200, headers, "application/octet-stream")
