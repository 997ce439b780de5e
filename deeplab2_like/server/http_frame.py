# SPDX-License-Identifier: Apache-2.0
"""What all routes share: keys, limits, errors, logs.

Errors are JSON objects with one key, `error`, as TensorFlow Serving and the
Open Inference Protocol have them.
"""

import asyncio
import dataclasses
import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette import concurrency
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from deeplab2_like.server import failures
from deeplab2_like.server.batching import Batcher
from deeplab2_like.server.failures import Kind, RequestError
from deeplab2_like.server.limits import Admission, Limits
from deeplab2_like.server.metrics import Metrics
from deeplab2_like.server.signatures import Arrays
from deeplab2_like.server.versions import Store
from deeplab2_like.storage import json_files

_LOGGER = logging.getLogger("deeplab2_like.server")

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
class Frame:
    """The parts that routes work with.

    Attributes:
        store: The models.
        limits: Limits of requests.
        admission: Counts the requests in work.
        metrics: Where requests are counted.
        api_key: What clients must send; None where all are served.
    """

    store: Store
    limits: Limits
    admission: Admission
    metrics: Metrics
    api_key: str | None = None

    def wrap(self, handler: Handler, *, is_public: bool = False) -> Handler:
        """Makes a handler whose failures become answers, with a log line.

        Args:
            handler: The handler. It may set `request.state.model`.
            is_public: Whether it needs no key.
        """

        async def handle(request: Request) -> Response:
            start = time.monotonic()
            request.state.model = None
            status = "OK"
            try:
                if not is_public:
                    self._check_key(request)
                response = await handler(request)
            except RequestError as error:
                status = error.kind.value
                response = make_error(error)
            except ClientDisconnect:
                status = Kind.SLOW_CLIENT.value
                response = Response(status_code=408)
            except Exception as error:
                status = Kind.INTERNAL.value
                _LOGGER.error(
                    "Defect",
                    extra={"fields": {"error": type(error).__name__}},
                    exc_info=True,
                )
                response = make_error(
                    RequestError(
                        Kind.INTERNAL,
                        f"The server failed ({type(error).__name__}). Please "
                        "report it.",
                    )
                )
            self._report(request, response, status, time.monotonic() - start)
            return response

        return handle

    def _check_key(self, request: Request) -> None:
        if self.api_key is None:
            return
        given = request.headers.get("x-api-key", "")
        scheme, _, token = request.headers.get("authorization", "").partition(
            " "
        )
        if scheme.lower() == "bearer":
            given = token.strip()
        if not hmac.compare_digest(
            given.encode("utf-8", "replace"), self.api_key.encode()
        ):
            raise RequestError(
                Kind.UNAUTHENTICATED,
                "The key is missing or wrong. Send the header Authorization: "
                "Bearer KEY, or X-API-Key: KEY.",
            )

    def _report(
        self, request: Request, response: Response, status: str, seconds: float
    ) -> None:
        model = request.state.model
        if model is not None and request.method == "POST":
            self.metrics.add_request(model, status, seconds)
        fields = {
            "method": request.method,
            "path": request.scope["path"][:200],
            "model": model,
            "code": response.status_code,
            "status": status,
            "milliseconds": round(seconds * 1e3, 1),
            "bytes_out": len(response.body),
        }
        level = logging.DEBUG if request.method == "GET" else logging.INFO
        _LOGGER.log(level, "Request", extra={"fields": fields})

    async def read_body(self, request: Request) -> bytes:
        """Reads the body of a request within the limits.

        Raises:
            RequestError: It is too long, too slow, or compressed.
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
                    parts.append(part)
        except TimeoutError:
            raise RequestError(
                Kind.SLOW_CLIENT,
                f"The request did not arrive within {self.limits.body_seconds} "
                "seconds.",
            ) from None
        return b"".join(parts)

    async def run(
        self, batcher: Batcher, signature_name: str, inputs: Arrays
    ) -> Arrays:
        """Waits for the outputs of a model.

        Raises:
            RequestError: See `Batcher.submit`; or the time is over.
        """
        seconds = self.limits.request_seconds
        answer = batcher.submit(signature_name, inputs, seconds)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.wrap_future(answer)
        except TimeoutError:
            raise RequestError(
                Kind.TIMEOUT,
                f"The request took longer than {seconds} seconds. Send it "
                "again later.",
            ) from None


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Runs what takes long beside the event loop, such as reading JSON."""
    return await concurrency.run_in_threadpool(function, *arguments)


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
