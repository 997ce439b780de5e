# SPDX-License-Identifier: Apache-2.0
"""Counts and durations for Prometheus, named as TensorFlow Serving's."""

import collections
import threading
from collections.abc import Iterator, Sequence

import prometheus_client
from prometheus_client import exposition, metrics_core, registry

from deeplab2_like.server.batching import Call

PATH = "/monitoring/prometheus/metrics"
_PREFIX = ":tensorflow:serving:"
# Microseconds.
_BUCKETS = [10 * 1.8**power for power in range(33)]
_SIZES = [1, 2, 4, 8, 16, 32, 64, 128]


class _RequestCount(registry.Collector):
    """The requests by model and status.

    A counter of the library would be called `..._total`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: collections.Counter[tuple[str, str]] = (
            collections.Counter()
        )

    def add(self, model: str, status: str) -> None:
        with self._lock:
            self._counts[model, status] += 1

    def collect(self) -> Iterator[metrics_core.Metric]:
        name = f"{_PREFIX}request_count"
        metric = metrics_core.Metric(name, "Requests by status.", "untyped")
        with self._lock:
            counts = dict(self._counts)
        for (model, status), count in counts.items():
            labels = {"model_name": model, "status": status}
            metric.add_sample(name, labels, count)
        yield metric


class Metrics:
    """The metrics of a server; threads may share it."""

    def __init__(self) -> None:
        prometheus_client.disable_created_metrics()
        self._registry = prometheus_client.CollectorRegistry()
        self._requests = _RequestCount()
        self._registry.register(self._requests)
        self._request_latency = self._make_histogram(
            "request_latency", ["model_name", "API", "entrypoint"], _BUCKETS
        )
        self._runtime_latency = self._make_histogram(
            "runtime_latency", ["model_name", "API", "runtime"], _BUCKETS
        )
        self._queueing = self._make_histogram(
            "batching_session:queuing_latency", ["model_name"], _BUCKETS
        )
        self._sizes = self._make_histogram(
            "batching_session:processed_batch_size", ["model_name"], _SIZES
        )

    def _make_histogram(
        self, name: str, labels: list[str], buckets: Sequence[float]
    ) -> prometheus_client.Histogram:
        return prometheus_client.Histogram(
            f"{_PREFIX}{name}",
            name.replace("_", " "),
            labels,
            buckets=buckets,
            registry=self._registry,
        )

    def add_request(
        self, model: str, status: str, seconds: float, entrypoint: str = "REST"
    ) -> None:
        """Adds an answered request.

        Args:
            model: Name of the model, one that exists.
            status: "OK", or the kind of the failure.
            seconds: From its arrival to its answer.
            entrypoint: "REST" or "GRPC".
        """
        self._requests.add(model, status)
        latency = self._request_latency.labels(model, "Predict", entrypoint)
        latency.observe(seconds * 1e6)

    def add_call(self, model: str, call: Call) -> None:
        """Adds a call of a model."""
        runtime = self._runtime_latency.labels(model, "Predict", "TF2")
        runtime.observe(call.seconds * 1e6)
        for waited in call.waited:
            self._queueing.labels(model).observe(waited * 1e6)
        self._sizes.labels(model).observe(call.num_rows)

    def render(self) -> bytes:
        """Returns the metrics as text."""
        return exposition.generate_latest(self._registry)
