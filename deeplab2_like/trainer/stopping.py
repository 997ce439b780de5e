# SPDX-License-Identifier: Apache-2.0
"""Stops a run that receives SIGINT (Ctrl-C) or SIGTERM, with its work saved.

A loop of steps runs in TensorFlow without returning to Python, and Python runs
the handlers of signals only when it returns. A thread is therefore told of each
signal at once: it announces the stop, and ends the process when a second Ctrl-C
cannot wait for the end of the loop.
"""

import contextlib
import functools
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

# Exit codes of a run that was stopped and can be continued: by SIGTERM
# (EX_TEMPFAIL), and by Ctrl-C (as shells have it).
EXIT_CODE = 75
INTERRUPT_CODE = 130
INTERRUPT = signal.SIGINT

# How long a second Ctrl-C waits for Python before the process ends.
_PATIENCE_SECONDS = 1.0
# How long each part of leaving may take.
LEAVE_SECONDS = 30.0
_WATCHED = (signal.SIGINT, signal.SIGTERM)


class StopRequestedError(Exception):
    """A signal was received; raised between two loops of steps."""


class Watch:
    """Watches for SIGINT and SIGTERM inside a block.

    The first signal only sets `received`, for `check`, or ends a block
    `interruptible`; a SIGINT after it raises KeyboardInterrupt, or ends the
    process if TensorFlow is busy. Does nothing where handlers cannot be set,
    which is in threads other than the main one.

    Attributes:
        received: Number of the first signal; None before.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        *,
        before_exit: Callable[[], None] = lambda: None,
    ):
        """Stores the functions; watches nothing yet.

        Args:
            say: Function that prints a line; called from a thread.
            before_exit: Function that is called when the process is about to
                be ended, from a thread.
        """
        self.received: int | None = None
        self._say = say
        self._before_exit = [before_exit]
        self._plan = "Stopping as soon as possible"
        self._is_interruptible = False
        self._reached_python = threading.Event()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self
        # Signals that the parent process has switched off remain so.
        watched = [
            number
            for number in _WATCHED
            if signal.getsignal(number) is not signal.SIG_IGN
        ]
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        thread = threading.Thread(
            target=self._listen, args=(reader,), daemon=True
        )
        thread.start()
        earlier = signal.set_wakeup_fd(
            writer.fileno(), warn_on_full_buffer=False
        )
        # Undone in the reverse order: the thread ends when `writer` is closed.
        self._stack.callback(reader.close)
        self._stack.callback(thread.join)
        self._stack.callback(writer.close)
        self._stack.callback(signal.set_wakeup_fd, earlier)
        for number in watched:
            before = signal.signal(number, self._handle)
            self._stack.callback(signal.signal, number, before)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def plan(self, text: str) -> None:
        """Stores what the first signal announces.

        Args:
            text: Sentence without its period: "Stopping after ...".
        """
        self._plan = text

    def add_exit(self, function: Callable[[], None]) -> None:
        """Adds a function to those that are called; see `before_exit`."""
        self._before_exit.append(function)

    def check(self) -> None:
        """Raises StopRequestedError if a signal was received."""
        if self.received is not None:
            raise StopRequestedError()

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Lets the first signal interrupt a block, which loses nothing.

        Raises:
            StopRequestedError: A signal was received before or inside.
        """
        self.check()
        self._is_interruptible = True
        try:
            yield
        except KeyboardInterrupt:
            raise StopRequestedError() from None
        finally:
            self._is_interruptible = False

    def _handle(self, number: int, frame: Any) -> None:  # noqa: ARG002
        """Handles a signal in the main thread, between two lines of Python."""
        is_first = self.received is None
        if is_first:
            self.received = number
        elif number == signal.SIGINT:
            self._reached_python.set()
            raise KeyboardInterrupt
        if is_first and self._is_interruptible:
            raise KeyboardInterrupt

    def _listen(self, reader: socket.socket) -> None:
        """Reacts to signals at once, also while TensorFlow is busy."""
        has_announced = False
        while data := reader.recv(1):
            number = data[0]
            if number not in _WATCHED:
                continue
            if not has_announced:
                has_announced = True
                more = "; press Ctrl-C again to stop at once."
                text = self._plan + (more if number == signal.SIGINT else ".")
                # The terminal may be gone, or not read any more.
                call_within(
                    _PATIENCE_SECONDS, functools.partial(self._say, text)
                )
            elif number == signal.SIGINT and not self._reached_python.wait(
                _PATIENCE_SECONDS
            ):
                self._end_process()

    def _end_process(self) -> None:
        try:
            leave(self._before_exit)
        finally:
            os._exit(INTERRUPT_CODE)


def leave(functions: Iterable[Callable[[], None]]) -> None:
    """Does what is due before a process ends at once, as far as it can.

    What hangs, for example on a disk that does not respond, is left behind in
    its thread, and an error counts for nothing.

    Args:
        functions: What to call, in this order; the output is flushed last.
    """
    for function in (*functions, _flush_stdout, _flush_stderr):
        call_within(LEAVE_SECONDS, function)


def _flush_stdout() -> None:
    sys.stdout.flush()  # None where a program was started without.


def _flush_stderr() -> None:
    sys.stderr.flush()


def call_within(seconds: float, function: Callable[[], None]) -> None:
    """Calls a function in a thread and waits for it at most a given time.

    Args:
        seconds: The time.
        function: The function, whose errors count for nothing.
    """

    def call() -> None:
        with contextlib.suppress(Exception):
            function()

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
