# SPDX-License-Identifier: Apache-2.0
"""Calls a function many times on several cores, in order."""

import collections
import concurrent.futures
import multiprocessing
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from deeplab2_like import errors

T = TypeVar("T")
# Calls that are handed to a process at once: the more, the less is waited.
_AT_ONCE = 8
# Parts that each process may be ahead of their use.
_AHEAD = 3
_function: Callable[[int], object] | None = None


def call_in_order(
    function: Callable[[int], T], count: int, num_processes: int
) -> Iterator[T]:
    """Calls a function with 0 .. count - 1 and yields its results in order.

    On Linux in processes that share the memory of this one; elsewhere in
    threads. TensorFlow must not be in use by the function.

    Args:
        function: Any function; its results can be pickled.
        count: Number of calls.
        num_processes: Processes; 1: none but this one.

    Raises:
        errors.DataError: The system ended a process.
    """
    if num_processes <= 1 or count <= _AT_ONCE:
        return map(function, range(count))
    executor = _open_executor(function, num_processes)
    # Processes begin with the first call, which is here and not in the first
    # step of the iterator: the caller may open a display, with a thread.
    first = _submit(executor, 0, count)
    return _collect(executor, first, count, num_processes)


def _collect(
    executor: concurrent.futures.Executor,
    first: concurrent.futures.Future,
    count: int,
    num_processes: int,
) -> Iterator[T]:
    waiting = collections.deque([first])
    try:
        for start in range(_AT_ONCE, count, _AT_ONCE):
            waiting.append(_submit(executor, start, count))
            if len(waiting) > _AHEAD * num_processes:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    except BrokenProcessPool as error:
        raise errors.DataError(
            "The system ended a process that reads images, most often for "
            "lack of memory. Run it again with --num_processes=1, which needs "
            "the least."
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _submit(
    executor: concurrent.futures.Executor, start: int, count: int
) -> concurrent.futures.Future:
    with warnings.catch_warnings():
        # Of Python 3.12: other threads. Those of NumPy take part in a fork.
        warnings.simplefilter("ignore", DeprecationWarning)
        return executor.submit(_call, start, min(start + _AT_ONCE, count))


def _open_executor(
    function: Callable[[int], object], num_processes: int
) -> concurrent.futures.Executor:
    if sys.platform == "linux":
        # The function gets there without being pickled.
        return concurrent.futures.ProcessPoolExecutor(
            num_processes,
            mp_context=multiprocessing.get_context("fork"),
            initializer=_begin,
            initargs=(function,),
        )
    _begin(function)
    return concurrent.futures.ThreadPoolExecutor(num_processes)


def _begin(function: Callable[[int], object]) -> None:
    global _function
    _function = function
    if threading.current_thread() is threading.main_thread() and (
        multiprocessing.parent_process() is not None
    ):
        # The first process answers an interrupt, and ends the others.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _call(start: int, stop: int) -> list[object]:
    if _function is None:
        raise RuntimeError("The process has no function.")
    return [_function(number) for number in range(start, stop)]
