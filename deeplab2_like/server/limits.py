# SPDX-License-Identifier: Apache-2.0
"""Limits of what a server takes on at a time."""

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator
from typing import Any

from starlette import concurrency

from deeplab2_like.server import failures

# Bodies of the largest size that are kept at a time.
_BODIES = 8
# Larger texts are read and written one at a time.
_LARGE_BYTES = 1_000_000


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits of requests.

    Attributes:
        max_body_bytes: Most bytes of a request.
        max_requests: Most requests that are read, wait or are computed.
        request_seconds: How long a request may wait and be computed.
        body_seconds: How long a client may take to send a request.
    """

    max_body_bytes: int = 32_000_000
    max_requests: int = 64
    request_seconds: float = 60.0
    body_seconds: float = 30.0

    @property
    def max_total_bytes(self) -> int:
        """Most bytes of all requests that are in work."""
        return _BODIES * self.max_body_bytes

    def check_body(self, num_bytes: int) -> None:
        """Checks the length of a body, or of its part so far.

        Raises:
            RequestError: It is too long.
        """
        if num_bytes > self.max_body_bytes:
            raise failures.RequestError(
                failures.Kind.TOO_LARGE,
                f"The request has more than {self.max_body_bytes} bytes. Send "
                "fewer or smaller images, or start the server with a higher "
                "--max_body_bytes.",
            )


class Admission:
    """Counts the requests in work, and refuses those that are too many."""

    def __init__(self, limits: Limits):
        """Takes the limits."""
        self._limits = limits
        self._lock = threading.Lock()
        self._count = 0
        self._num_bytes = 0

    @contextlib.contextmanager
    def admit(self) -> "Iterator[Share]":
        """Counts a request, and its bytes, while a block runs.

        Raises:
            RequestError: Too many are in work.
        """
        with self._lock:
            if self._count >= self._limits.max_requests:
                raise failures.RequestError(
                    failures.Kind.BUSY,
                    f"{self._count} requests are in work already. Send the "
                    "request again later.",
                )
            self._count += 1
        share = Share(self._add)
        try:
            yield share
        finally:
            with self._lock:
                self._count -= 1
                self._num_bytes -= share.num_bytes

    def _add(self, num_bytes: int) -> None:
        limit = self._limits.max_total_bytes
        with self._lock:
            if self._num_bytes + num_bytes > limit:
                raise failures.RequestError(
                    failures.Kind.BUSY,
                    f"The requests in work have {limit} bytes together. Send "
                    "the request again later.",
                )
            self._num_bytes += num_bytes


class Share:
    """What a request has of the bytes of all requests.

    Attributes:
        num_bytes: Its bytes so far.
    """

    def __init__(self, add: Callable[[int], None]):
        """Takes the function that adds to the bytes of all requests."""
        self.num_bytes = 0
        self._add = add

    def add(self, num_bytes: int) -> None:
        """Adds bytes that were read.

        Raises:
            RequestError: The requests in work have too many together.
        """
        self._add(num_bytes)
        self.num_bytes += num_bytes


class Turns:
    """Lets large texts be read and written one at a time.

    Python's objects take ten times the memory of the JSON that they are read
    from, and while it is read nothing else runs.
    """

    def __init__(self) -> None:
        """Begins without any."""
        self._turn = asyncio.Lock()

    async def run(
        self, num_bytes: int, function: Callable[..., Any], *arguments: Any
    ) -> Any:
        """Runs a function in a thread, in its turn if it is about many bytes.

        Args:
            num_bytes: Size of what is read or written.
            function: The function.
            *arguments: Its arguments.
        """
        if num_bytes <= _LARGE_BYTES:
            return await concurrency.run_in_threadpool(function, *arguments)
        async with self._turn:
            return await concurrency.run_in_threadpool(function, *arguments)
