# SPDX-License-Identifier: Apache-2.0
"""Stops a run when its process receives SIGTERM."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

# Exit code of a run that was stopped and can be continued (EX_TEMPFAIL).
EXIT_CODE = 75


class StopRequestedError(Exception):
    """The process received SIGTERM; raised between two loops of steps."""


@contextlib.contextmanager
def watch_sigterm() -> Iterator[Callable[[], bool]]:
    """Watches for SIGTERM inside a block, which then does not end the process.

    Yields:
        Function that returns whether SIGTERM was received.
    """
    received: list[int] = []

    def handler(number: int, frame: Any) -> None:  # noqa: ARG001
        received.append(number)

    try:
        before = signal.signal(signal.SIGTERM, handler)
    except ValueError:  # Only the main thread can set handlers.
        yield lambda: False
        return
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGTERM, before)
