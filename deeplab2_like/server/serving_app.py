# SPDX-License-Identifier: Apache-2.0
"""The application that serves folders of exported models."""

from collections.abc import Sequence

from starlette.applications import Starlette

from deeplab2_like.server import app as app_lib
from deeplab2_like.server.batching import Batcher, BatchingOptions
from deeplab2_like.server.limits import Limits
from deeplab2_like.server.metrics import Metrics
from deeplab2_like.server.model import Model, SavedModel
from deeplab2_like.server.versions import ModelOptions, ServedModel, Store


def build(
    models: Sequence[ModelOptions],
    limits: Limits,
    *,
    max_batch_size: int = 8,
    poll_seconds: float = 2.0,
    api_key: str | None = None,
    has_page: bool = True,
) -> Starlette:
    """Builds the application.

    Args:
        models: What to serve.
        limits: Limits of requests.
        max_batch_size: Most rows of a call of a model.
        poll_seconds: Time between looks for new versions.
        api_key: What clients must send; None to serve all.
        has_page: Whether there is a page at `/`.
    """
    metrics = Metrics()
    options = BatchingOptions(max_batch_size, limits.max_requests)

    def serve(model_options: ModelOptions) -> ServedModel:
        name = model_options.name

        def make_batcher(model: Model) -> Batcher:
            return Batcher(
                model, options, lambda call: metrics.add_call(name, call)
            )

        return ServedModel(model_options, SavedModel, make_batcher)

    store = Store([serve(model) for model in models], poll_seconds)
    return app_lib.make_app(store, metrics, limits, api_key, has_page=has_page)
