# SPDX-License-Identifier: Apache-2.0
"""The Open Inference Protocol, version 2, over HTTP.

https://github.com/kserve/open-inference-protocol: health, metadata, inference,
and the binary extension.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deeplab2_like.console import version as package_version
from deeplab2_like.server import failures, open_inference
from deeplab2_like.server import model as model_lib
from deeplab2_like.server.http_frame import Frame, in_thread, make_json
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
        return make_json(
            {
                "name": "deeplab2_like",
                "version": package_version.VERSION,
                "extensions": ["binary_tensor_data"],
            }
        )

    async def model_ready(request: Request) -> Response:
        name, model = _find_model(frame, request)
        number = _read_version(request)
        try:
            model.get(number)
        except failures.RequestError as error:
            if error.kind != failures.Kind.UNAVAILABLE:
                raise
            return make_json({"name": name, "ready": False}, 503)
        return make_json({"name": name, "ready": True})

    async def metadata(request: Request) -> Response:
        name, model = _find_model(frame, request)
        _, batcher = model.get(_read_version(request))
        described = model_lib.default_signature(batcher.model.signatures)
        describe = open_inference.describe_tensors
        return make_json(
            {
                "name": name,
                "versions": [
                    str(status.version)
                    for status in model.list_statuses()
                    if status.state == "AVAILABLE"
                ],
                "platform": "tensorflow_savedmodel",
                "inputs": describe(described.inputs),
                "outputs": describe(described.outputs),
            }
        )

    async def infer(request: Request) -> Response:
        name, model = _find_model(frame, request)
        with frame.admission.admit():
            return await _infer(frame, request, name, model)

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


def _find_model(frame: Frame, request: Request) -> tuple[str, ServedModel]:
    name = request.path_params["name"]
    model = frame.store.get(name)
    request.state.model = name
    return name, model


def _read_version(request: Request) -> int | None:
    text = request.path_params.get("version")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise failures.RequestError(
            failures.Kind.NOT_FOUND,
            f"The version is {failures.shorten(text)}. Versions are numbers.",
        )
    return int(text)


async def _infer(
    frame: Frame, request: Request, name: str, model: ServedModel
) -> Response:
    body = await frame.read_body(request)
    version, batcher = model.get(_read_version(request))
    asked = await in_thread(
        open_inference.parse_infer,
        body,
        request.headers.get(_LENGTH_HEADER),
        batcher.model.signatures,
    )
    outputs = await frame.run(batcher, asked.signature_name, asked.inputs)
    text, length = await in_thread(
        open_inference.format_infer, asked, outputs, name, version
    )
    if length is None:
        return Response(text, media_type="application/json")
    headers = {_LENGTH_HEADER: str(length)}
    return Response(text, 200, headers, "application/octet-stream")
