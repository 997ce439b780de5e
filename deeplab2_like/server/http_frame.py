# SPDX-License-Identifier: Apache-2.0
"""What all routes share: the key, failures as answers, logs, bodies.

Errors are JSON objects with one key, `error`, as TensorFlow Serving and the
Open Inference Protocol have them.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from deeplab2_like.server import backend, failures
from deeplab2_like.server.backend import Backend
from deeplab2_like.server.failures import Kind, RequestError
from deeplab2_like.server.limits import Share
from deeplab2_like.storage import json_files

Handler = Callable[[Request], Awaitable[Response]]

_STATUSES = {
    Kind.INVALID: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.NOT_FOUND: 404,
    Kind.SLOW_CLIENT: 408,
    Kind.TOO_LARGE: 413,
    Kind.BUSY: 429,
    Kind.INTERNAL: 500,
    Kind.UNSUPPORTED: 501,
    Kind.UNAVAILABLE: 503,
    Kind.TIMEOUT: 504,
}
_RETRIED = {Kind.BUSY, Kind.UNAVAILABLE, Kind.TIMEOUT}


@dataclasses.dataclass(frozen=True)
class Frame(Backend):
    """The parts that routes work with."""

    def wrap(self, handler: Handler, *, is_public: bool = False) -> Handler:
        """Makes a handler whose failures become answers, with a log line.

        Args:
            handler: The handler. It may set `request.state.model`.
            is_public: Whether it needs no key.
        """

        async def handle(request: Request) -> Response:
            entry = backend.Entry(
                "REST",
                request.method,
                request.scope["path"],
                is_prediction=request.method == "POST",
            )
            request.state.model = None
            status = "OK"
            try:
                if not is_public:
                    self.check_key(request.headers)
                response = await handler(request)
            except ClientDisconnect:
                status = Kind.SLOW_CLIENT.value
                response = Response(status_code=408)
            except Exception as error:
                failure = backend.to_failure(error)
                status = failure.kind.value
                response = make_error(failure)
            entry.model = request.state.model
            self.report(entry, status, response.status_code, len(response.body))
            return response

        return handle

    async def read_body(self, request: Request, share: Share) -> bytes:
        """Reads the body of a request within the limits.

        Args:
            request: The request.
            share: Its share of the bytes of all requests.

        Raises:
            RequestError: It is too long, too slow, compressed, or too much
                beside the others.
        """
        coding = request.headers.get("content-encoding", "identity")
        if coding.lower() != "identity":
            raise failures.invalid(
                f"The Content-Encoding is {failures.shorten(coding)}. Send the "
                "request as it is, not compressed."
            )
        length = request.headers.get("content-length", "")
        if length.isascii() and length.isdigit():
            self.limits.check_body(int(length[:20]))
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                async for part in request.stream():
                    size += len(part)
                    self.limits.check_body(size)
                    share.add(len(part))
                    parts.append(part)
        except TimeoutError:
            raise RequestError(
                Kind.SLOW_CLIENT,
                f"The request did not arrive within {self.limits.body_seconds} "
                "seconds.",
            ) from None
        return b"".join(parts)


def make_json(document: Any, status: int = 200) -> Response:
    """Makes an answer of what JSON can hold."""
    text = json_files.to_line(document)
    return Response(text, status, media_type="application/json")


def make_error(error: RequestError) -> Response:
    """Makes the answer of a request that failed."""
    response = make_json({"error": str(error)}, _STATUSES[error.kind])
    if error.kind in _RETRIED:
        response.headers["retry-after"] = "1"
    if error.kind == Kind.UNAUTHENTICATED:
        response.headers["www-authenticate"] = "Bearer"
    if error.kind in (Kind.TOO_LARGE, Kind.SLOW_CLIENT):
        # What is left of the request is not read.
        response.headers["connection"] = "close"
    return response
