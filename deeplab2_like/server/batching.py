# SPDX-License-Identifier: Apache-2.0
"""The queue in front of a model, and the thread that empties it.

What arrives while the model computes is answered in one call afterwards, where
rows are independent. Nothing waits for others to arrive. A call that fails is
repeated for each of its requests, so that none fails because of another.
"""

import collections
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent import futures

import numpy as np

from deeplab2_like.server import failures, signatures
from deeplab2_like.server.model import Model
from deeplab2_like.server.signatures import Arrays

_LOGGER = logging.getLogger("deeplab2_like.server")


@dataclasses.dataclass(frozen=True)
class BatchingOptions:
    """Options of a queue.

    Attributes:
        max_rows: Most rows of a call of the model, of all its requests.
        max_queue: Most requests that wait.
    """

    max_rows: int = 8
    max_queue: int = 64


@dataclasses.dataclass(frozen=True)
class Call:
    """A finished call of a model, for metrics.

    Attributes:
        num_rows: Rows of all its requests.
        seconds: How long the model took.
        waited: Seconds that each request had waited.
    """

    num_rows: int
    seconds: float
    waited: Sequence[float]


class UnloadedError(failures.RequestError):
    """A request that came too late: another version may answer it."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Waiting:
    signature_name: str
    inputs: Arrays
    since: float
    deadline: float
    answer: futures.Future[Arrays]

    @property
    def num_rows(self) -> int:
        return signatures.count_rows(self.inputs)


class Batcher:
    """A model with a queue and a thread.

    Attributes:
        model: The model.
    """

    def __init__(
        self,
        model: Model,
        options: BatchingOptions,
        observe: Callable[[Call], None] = lambda _: None,
    ):
        """Starts the thread.

        Args:
            model: The model; only the thread calls it.
            options: Options of the queue.
            observe: Function that is called after each call of the model.
        """
        self.model = model
        self._options = options
        self._max_rows = max(1, min(options.max_rows, model.max_rows))
        self._observe = observe
        self._queue: collections.deque[_Waiting] = collections.deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def submit(
        self, signature_name: str, inputs: Arrays, seconds: float
    ) -> futures.Future[Arrays]:
        """Puts a request into the queue.

        Args:
            signature_name: Name of a signature.
            inputs: Its inputs.
            seconds: How long the request may wait and run. A running call is
                not ended, but its answer is no longer of use.

        Returns:
            The outputs, or a `RequestError`, in the future.

        Raises:
            RequestError: The inputs do not fit, have more rows than the model
                answers, or the queue is full.
            UnloadedError: The model takes no more requests.
        """
        signature = signatures.find(self.model.signatures, signature_name)
        signatures.check_inputs(signature, inputs)
        if signature.has_independent_rows:
            _check_count(signatures.count_rows(inputs), self.model.max_rows)
        now = time.monotonic()
        waiting = _Waiting(
            signature_name, inputs, now, now + seconds, futures.Future()
        )
        with self._changed:
            if self._is_closed:
                raise UnloadedError(
                    failures.Kind.UNAVAILABLE,
                    "The model is being unloaded. Send the request again.",
                )
            if len(self._queue) >= self._options.max_queue:
                raise failures.RequestError(
                    failures.Kind.BUSY,
                    f"{self._options.max_queue} requests wait already. Send "
                    "the request again later.",
                )
            self._queue.append(waiting)
            self._changed.notify()
        return waiting.answer

    def close(self) -> None:
        """Takes no more requests, answers those that wait, and returns."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._is_closed)
                if not self._queue:
                    return
                batch = self._take()
            self._answer([w for w in batch if self._is_wanted(w)])

    def _take(self) -> list[_Waiting]:
        """Takes the first request, and those that fit into the same call."""
        batch = [self._queue.popleft()]
        name = batch[0].signature_name
        if not self.model.signatures[name].has_independent_rows:
            return batch
        num_rows = batch[0].num_rows
        others: collections.deque[_Waiting] = collections.deque()
        for waiting in self._queue:
            is_fitting = (
                waiting.signature_name == name
                and num_rows + waiting.num_rows <= self._max_rows
            )
            (batch if is_fitting else others).append(waiting)
            num_rows += waiting.num_rows if is_fitting else 0
        self._queue = others
        return batch

    def _is_wanted(self, waiting: _Waiting) -> bool:
        if not waiting.answer.set_running_or_notify_cancel():
            return False
        if time.monotonic() <= waiting.deadline:
            return True
        waiting.answer.set_exception(_took_too_long())
        return False

    def _answer(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
        try:
            if len(batch) == 1:
                answers = [self._run_alone(batch[0])]
            else:
                answers = self._run_together(batch)
        except Exception as error:
            if len(batch) > 1:
                for waiting in batch:
                    self._answer([waiting])
                return
            batch[0].answer.set_exception(_to_failure(error))
            return
        for waiting, outputs in zip(batch, answers, strict=True):
            waiting.answer.set_result(outputs)

    def _run_together(self, batch: Sequence[_Waiting]) -> list[Arrays]:
        merged = _concatenate([waiting.inputs for waiting in batch])
        outputs = self._run(batch, merged)
        ends = np.cumsum([waiting.num_rows for waiting in batch])[:-1]
        parts = {name: np.split(x, ends) for name, x in outputs.items()}
        return [
            {name: part[index] for name, part in parts.items()}
            for index in range(len(batch))
        ]

    def _run_alone(self, waiting: _Waiting) -> Arrays:
        name = waiting.signature_name
        if not self.model.signatures[name].has_independent_rows:
            return self._run([waiting], waiting.inputs)
        starts = range(0, max(1, waiting.num_rows), self._max_rows)
        outputs: list[Arrays] = []
        for start in starts:
            if outputs and time.monotonic() > waiting.deadline:
                raise _took_too_long()
            rows = slice(start, start + self._max_rows)
            part = {key: array[rows] for key, array in waiting.inputs.items()}
            outputs.append(self._run([waiting], part))
        return _concatenate(outputs)

    def _run(self, batch: Sequence[_Waiting], inputs: Arrays) -> Arrays:
        start = time.monotonic()
        outputs = self.model.run(batch[0].signature_name, inputs)
        self._observe(
            Call(
                signatures.count_rows(inputs),
                time.monotonic() - start,
                [start - waiting.since for waiting in batch],
            )
        )
        return outputs


def _concatenate(parts: Sequence[Arrays]) -> Arrays:
    if len(parts) == 1:
        return parts[0]
    return {
        name: np.concatenate([part[name] for part in parts])
        for name in parts[0]
    }


def _check_count(count: int, limit: int) -> None:
    if count > limit:
        raise failures.invalid(
            f"The request has {count} rows. Allowed are {limit}: send the "
            "others in further requests."
        )


def _took_too_long() -> failures.RequestError:
    return failures.RequestError(
        failures.Kind.TIMEOUT,
        "The request waited longer than it may. Send it again later.",
    )


def _to_failure(error: Exception) -> failures.RequestError:
    if isinstance(error, failures.RequestError):
        return error
    # Its text may quote the image.
    _LOGGER.error(
        "The model failed", extra={"fields": {"error": type(error).__name__}}
    )
    return failures.RequestError(
        failures.Kind.INTERNAL,
        f"The model failed ({type(error).__name__}). Other requests are not "
        "affected; please report it if it fails again.",
    )
