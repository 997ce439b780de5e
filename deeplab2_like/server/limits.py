# SPDX-License-Identifier: Apache-2.0
"""Limits of what a server takes on at a time."""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator

from deeplab2_like.server import failures


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

    @contextlib.contextmanager
    def admit(self) -> Iterator[None]:
        """Counts a request while a block runs.

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
        try:
            yield
        finally:
            with self._lock:
                self._count -= 1
