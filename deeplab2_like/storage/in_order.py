# SPDX-License-Identifier: Apache-2.0
"""Calls a function on many values in threads, in bounded memory."""

import collections
import concurrent.futures
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def call(
    executor: concurrent.futures.Executor,
    function: Callable[[S], T],
    values: Iterable[S],
    ahead: int,
) -> Iterator[T]:
    """Yields results in order; only a few are ahead of their use.

    `Executor.map` begins with all calls at once, and each takes 2 KB until its
    result is used.

    Args:
        executor: Threads.
        function: The function.
        values: Its arguments.
        ahead: Most results that wait for their use.
    """
    waiting: collections.deque[concurrent.futures.Future[T]]
    waiting = collections.deque()
    for value in values:
        waiting.append(executor.submit(function, value))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
