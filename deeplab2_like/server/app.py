# SPDX-License-Identifier: Apache-2.0
"""The application: models behind routes, an ASGI application for any server."""

import contextlib
from collections.abc import AsyncIterator

from starlette import concurrency
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deeplab2_like.server import failures, page, rest_v1, rest_v2
from deeplab2_like.server import metrics as metrics_lib
from deeplab2_like.server.http_frame import Frame, make_json
from deeplab2_like.server.limits import Admission, Limits
from deeplab2_like.server.metrics import Metrics
from deeplab2_like.server.versions import Store

_TEXT = "text/plain; version=0.0.4; charset=utf-8"


def make_app(
    store: Store,
    metrics: Metrics,
    limits: Limits | None = None,
    api_key: str | None = None,
    *,
    has_page: bool = True,
) -> Starlette:
    """Makes the application.

    Args:
        store: The models, `app.state.store` too; `app.state.frame` has all
            parts. The application starts it, and closes it when it ends.
        metrics: Where requests and calls are counted.
        limits: Limits of requests; the defaults when None.
        api_key: What clients must send; None to serve all.
        has_page: Whether there is a page at `/`.
    """
    limits = limits or Limits()
    frame = Frame(store, limits, Admission(limits), metrics, api_key)

    async def show_metrics(_: Request) -> Response:
        return Response(metrics.render(), media_type=_TEXT)

    @contextlib.asynccontextmanager
    async def run(_: Starlette) -> AsyncIterator[None]:
        store.start()
        yield
        await concurrency.run_in_threadpool(store.close)

    app = Starlette(
        routes=[
            *rest_v1.make_routes(frame),
            *rest_v2.make_routes(frame),
            *(page.make_routes(frame) if has_page else []),
            Route(metrics_lib.PATH, frame.wrap(show_metrics), methods=["GET"]),
        ],
        exception_handlers={HTTPException: _describe_failure},
        lifespan=run,
    )
    app.state.store = store
    app.state.frame = frame
    return app


def _describe_failure(request: Request, error: Exception) -> Response:
    """Answers requests that no route takes."""
    assert isinstance(error, HTTPException)
    what = "does not exist" if error.status_code == 404 else error.detail
    path = failures.show_name(request.scope["path"])
    sentence = f"{request.method} {path}: {what}."
    response = make_json({"error": sentence}, error.status_code)
    response.headers.update(error.headers or {})
    return response
