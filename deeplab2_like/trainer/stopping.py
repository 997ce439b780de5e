# SPDX-License-Identifier: Apache-2.0
"""Stopping a run when its process is asked to end (SIGTERM)."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

# Exit code of a run that was asked to stop and can be continued (EX_TEMPFAIL).
EXIT_CODE = 75


class StopRequestedError(Exception):
    """The process was asked to end; raised between two loops of steps."""


@contextlib.contextmanager
def watch_sigterm() -> Iterator[Callable[[], bool]]:
    """Returns a function that tells whether SIGTERM has come."""
    received: list[int] = []

    def handler(number: int, frame: Any) -> None:  # noqa: ARG001
        received.append(number)

    try:
        before = signal.signal(signal.SIGTERM, handler)
    except ValueError:  # Not the main thread: leave signals alone.
        yield lambda: False
        return
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGTERM, before)
