# SPDX-License-Identifier: Apache-2.0
"""What all interfaces share: models, limits, the key, counts and logs.

HTTP and gRPC read requests and write answers; which version answers, whether
the request is taken on, how long it may take, and what a failure is called are
decided here.
"""

import asyncio
import contextlib
import dataclasses
import hmac
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from starlette import concurrency

from deeplab2_like.server import batching, failures
from deeplab2_like.server.batching import Batcher
from deeplab2_like.server.failures import Kind, RequestError
from deeplab2_like.server.limits import Admission, Limits, Turns
from deeplab2_like.server.metrics import Metrics
from deeplab2_like.server.signatures import Arrays, Signature
from deeplab2_like.server.versions import Store

_LOGGER = logging.getLogger("deeplab2_like.server")


@dataclasses.dataclass(frozen=True)
class Target:
    """Which version of which model is asked.

    Attributes:
        name: Name of the model.
        version: Number of the version; None for that of the label, or for the
            newest.
        label: Label of the version; None for none.
    """

    name: str
    version: int | None = None
    label: str | None = None


class Asked(Protocol):
    """A request that was read."""

    @property
    def signature_name(self) -> str:
        """Name of the signature."""

    @property
    def inputs(self) -> Arrays:
        """The inputs by name."""


AskedT = TypeVar("AskedT", bound=Asked)


@dataclasses.dataclass(frozen=True)
class Answer(Generic[AskedT]):
    """What a model answered.

    Attributes:
        version: The version that answered.
        asked: The request, as it was read for this version.
        outputs: All outputs of the signature by name.
    """

    version: int
    asked: AskedT
    outputs: Arrays


@dataclasses.dataclass
class Entry:
    """What is counted and logged of a request.

    Attributes:
        entrypoint: "REST" or "GRPC".
        method: "GET", "POST", ...; "gRPC".
        path: Path of the request.
        is_prediction: Whether it asks a model to compute.
        model: Name of the model, one that exists; None for none.
        start: When it arrived, of `time.monotonic`.
    """

    entrypoint: str
    method: str
    path: str
    is_prediction: bool
    model: str | None = None
    start: float = dataclasses.field(default_factory=time.monotonic)


@dataclasses.dataclass(frozen=True)
class Backend:
    """The parts that interfaces work with.

    Attributes:
        store: The models.
        limits: Limits of requests.
        admission: Counts the requests in work.
        metrics: Where requests are counted.
        api_key: What clients must send; None where all are served.
        turns: In which large texts are read and written.
    """

    store: Store
    limits: Limits
    admission: Admission
    metrics: Metrics
    api_key: str | None = None
    turns: Turns = dataclasses.field(default_factory=Turns)

    def check_key(self, headers: Mapping[str, str]) -> None:
        """Checks the key that a client sent.

        Args:
            headers: Headers, or metadata, by name in small letters.

        Raises:
            RequestError: It is missing or wrong.
        """
        if self.api_key is None:
            return
        given = headers.get("x-api-key", "")
        scheme, _, token = headers.get("authorization", "").partition(" ")
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

    async def predict(
        self,
        target: Target,
        parse: Callable[[Mapping[str, Signature]], AskedT],
        *,
        seconds: float | None = None,
        num_bytes: int = 0,
    ) -> Answer[AskedT]:
        """Waits for the answer of a model.

        A version that is unloaded while the request is read is replaced by the
        one that took over.

        Args:
            target: Which version is asked.
            parse: Function that reads the request for the signatures of a
                version, in a thread; raises a `RequestError` where it does not
                fit.
            seconds: How long the client waits; None for no limit but that of
                the server.
            num_bytes: Size of what `parse` reads.

        Raises:
            RequestError: There is no such version, the request does not fit,
                is not taken on, or takes too long.
        """
        end = time.monotonic() + self._limit(seconds)
        model = self.store.get(target.name)
        while True:
            version, batcher = model.get(target.version, target.label)
            async with self._until(end):
                asked = await self.turns.run(
                    num_bytes, parse, batcher.model.signatures
                )
            left = end - time.monotonic()
            try:
                outputs = await self.run(
                    batcher, asked.signature_name, asked.inputs, seconds=left
                )
            except batching.UnloadedError:
                # Since it was chosen; it will not be chosen again.
                continue
            return Answer(version, asked, outputs)

    @contextlib.asynccontextmanager
    async def _until(self, end: float) -> AsyncIterator[None]:
        """Ends a block at a time of `time.monotonic`."""
        try:
            async with asyncio.timeout(max(0.0, end - time.monotonic())):
                yield
        except TimeoutError:
            raise RequestError(
                Kind.TIMEOUT,
                f"The request took longer than {self.limits.request_seconds} "
                "seconds, or than its client waits. Send it again later.",
            ) from None

    def _limit(self, seconds: float | None) -> float:
        limit = self.limits.request_seconds
        return limit if seconds is None else min(limit, seconds)

    async def run(
        self,
        batcher: Batcher,
        signature_name: str,
        inputs: Arrays,
        *,
        seconds: float | None = None,
    ) -> Arrays:
        """Waits for the outputs of a version.

        Raises:
            RequestError: See `Batcher.submit`; or the time is over.
            UnloadedError: See `Batcher.submit`.
        """
        seconds = self._limit(seconds)
        answer = batcher.submit(signature_name, inputs, seconds)
        async with self._until(time.monotonic() + seconds):
            return await asyncio.wrap_future(answer)

    def report(
        self, entry: Entry, status: str, code: int, num_bytes: int
    ) -> None:
        """Counts and logs a request that was answered.

        Args:
            entry: The request.
            status: "OK", or the kind of the failure.
            code: Code of the answer in its protocol.
            num_bytes: Length of the answer.
        """
        seconds = time.monotonic() - entry.start
        if entry.model is not None and entry.is_prediction:
            self.metrics.add_request(
                entry.model, status, seconds, entry.entrypoint
            )
        fields = {
            "method": entry.method,
            "path": entry.path[:200],
            "model": entry.model,
            "code": code,
            "status": status,
            "milliseconds": round(seconds * 1e3, 1),
            "bytes_out": num_bytes,
        }
        level = logging.INFO if entry.is_prediction else logging.DEBUG
        _LOGGER.log(level, "Request", extra={"fields": fields})


def to_failure(error: Exception) -> RequestError:
    """Returns what a client is told of an error; a defect is logged."""
    if isinstance(error, RequestError):
        return error
    name = type(error).__name__
    _LOGGER.error("Defect", extra={"fields": {"error": name}}, exc_info=error)
    return RequestError(
        failures.Kind.INTERNAL, f"The server failed ({name}). Please report it."
    )


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Runs what takes long beside the event loop, such as reading JSON."""
    return await concurrency.run_in_threadpool(function, *arguments)
