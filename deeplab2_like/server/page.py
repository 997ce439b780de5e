# SPDX-License-Identifier: Apache-2.0
"""The page at `/`, on which models are tried in a browser.

The files of the folder `page_files` are sent as they are. The page asks
`/page/models` for models and classes, and the public interface for segments.
"""

import functools
from importlib import resources
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deeplab2_like.exports import signatures as exported_signatures
from deeplab2_like.labels import palette
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.results import coco_writer
from deeplab2_like.server import backend, failures, http_frame
from deeplab2_like.server.http_frame import Frame, Handler
from deeplab2_like.server.versions import ServedModel

PAGE_FILE = "page.html"

_PACKAGE = "deeplab2_like.server"
_FOLDER = "page_files"
_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "jpg": "image/jpeg",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
# Nothing comes from another host, and nothing is run from within the page.
_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": _POLICY,
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
# Instances of a class have as many different colors.
_NUM_SHADES = 24


def load_files() -> dict[str, bytes]:
    """Returns the files of the page by name."""
    folder = resources.files(_PACKAGE) / _FOLDER
    return {
        file.name: file.read_bytes()
        for file in folder.iterdir()
        if _find_ending(file.name) in _TYPES
    }


def _find_ending(name: str) -> str:
    return name.rpartition(".")[2]


def make_routes(frame: Frame) -> list[Route]:
    """Makes the routes of the page.

    Its files need no key: they are the same for every server.
    """

    async def models(_: Request) -> Response:
        listed = await backend.in_thread(_describe_models, frame)
        response = http_frame.make_json(listed)
        response.headers["cache-control"] = "no-store"
        return response

    routes = [Route("/page/models", frame.wrap(models), methods=["GET"])]
    for name, content in load_files().items():
        path = "/" if name == PAGE_FILE else f"/page/{name}"
        handler = frame.wrap(_make_handler(name, content), is_public=True)
        routes.append(Route(path, handler, methods=["GET"]))
    return routes


def _make_handler(name: str, content: bytes) -> Handler:
    media_type = _TYPES[_find_ending(name)]

    async def send(_: Request) -> Response:
        return Response(content, 200, _HEADERS, media_type)

    return send


def _describe_models(frame: Frame) -> dict[str, Any]:
    return {
        "models": [
            _describe_model(name, model)
            for name, model in frame.store.models.items()
        ],
        "max_body_bytes": frame.limits.max_body_bytes,
    }


def _describe_model(name: str, served: ServedModel) -> dict[str, Any]:
    try:
        version, batcher = served.get()
    except failures.RequestError:
        problems = [status.problem for status in served.list_statuses()]
        return {
            "name": name,
            "version": None,
            "problem": next(filter(None, problems), ""),
            "has_compact": False,
            "data_set": None,
            "classes": [],
        }
    model = batcher.model
    descriptor = model.descriptor
    return {
        "name": name,
        "version": str(version),
        "problem": "",
        "has_compact": exported_signatures.COMPACT in model.signatures,
        "data_set": None if descriptor is None else descriptor.name,
        "classes": [] if descriptor is None else _list_classes(descriptor),
    }


@functools.lru_cache(maxsize=32)
def _list_classes(descriptor: DatasetDescriptor) -> list[dict[str, Any]]:
    """Lists the categories of COCO's files, with colors of instances.

    They are the colors of the pictures that deeplab2-predict draws.
    """
    categories = coco_writer.make_categories(descriptor)
    numbers = np.arange(1, _NUM_SHADES + 1)
    for category in categories:
        category["shades"] = []
        if category["isthing"]:
            colors = np.array([category["color"]] * _NUM_SHADES, np.uint8)
            shades = palette.shade_instances(colors, numbers)
            category["shades"] = shades.tolist()
    return categories
