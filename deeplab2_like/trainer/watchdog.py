# SPDX-License-Identifier: Apache-2.0
"""Ends a run that hangs, with the stacks of all threads in a file.

A run hangs, for example, where a collective operation waits for a worker that
neither answers nor ends, or where a network disk does not respond. Each worker
watches itself, so that each of those that wait writes its own file.
"""

import contextlib
import dataclasses
import datetime
import faulthandler
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Self

from deeplab2_like.storage import whole_files
from deeplab2_like.trainer import stopping

_EVALUATION = "evaluation_seconds"
_LOOK_SECONDS = 1.0
_WRITE_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class Limits:
    """How long parts of a run may take, in seconds; 0 for no limit.

    Attributes:
        compile: The first loop of steps, besides `step` for each of its steps.
        step: A step, as a mean over those of a loop.
        save: Saving a checkpoint.
        evaluation: Evaluating a batch, the first with its compilation.
    """

    compile: float = 0.0
    step: float = 0.0
    save: float = 0.0
    evaluation: float = 0.0


@dataclasses.dataclass
class _Part:
    """A part of the run that is going on.

    Attributes:
        name: What it does, as the subject of a sentence.
        field: Field of the limit in `trainer_options.watchdog`.
        seconds: Its limit.
        begin: When it began.
    """

    name: str
    field: str
    seconds: float
    begin: float


class Watchdog:
    """Watches the parts of a run inside a block, from a thread of its own."""

    def __init__(
        self,
        limits: Limits,
        folder: str,
        say: Callable[[str], None],
        *,
        before_exit: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        end_process: Callable[[int], None] = os._exit,
    ):
        """Stores the limits; watches nothing yet.

        Args:
            limits: The limits.
            folder: The model folder, for the stacks.
            say: Function that prints a line.
            before_exit: Function that is called before the process ends.
            clock: Function that returns the time in seconds.
            end_process: Function that ends the process with a code.
        """
        self._limits = limits
        self._folder = folder
        self._say = say
        self._before_exit = before_exit
        self._clock = clock
        self._end_process = end_process
        self._part: _Part | None = None
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None
        self._has_compiled = False
        self._stacks = ""

    def __enter__(self) -> Self:
        if any(dataclasses.astuple(self._limits)):
            self._thread = threading.Thread(
                target=self._watch, name="watchdog", daemon=True
            )
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()

    def steps(self, count: int) -> contextlib.AbstractContextManager[None]:
        """Watches a loop of steps inside a block.

        Args:
            count: Number of its steps.
        """
        limits = self._limits
        seconds = count * limits.step
        noun = "step" if count == 1 else "steps"
        if self._has_compiled:
            return self._watched(
                f"A loop of {count} {noun}", "step_seconds", seconds
            )
        self._has_compiled = True
        seconds = seconds + limits.compile if limits.compile else 0.0
        return self._watched(
            f"The first loop of {count} {noun}, with its compilation,",
            "compile_seconds",
            seconds if limits.step else 0.0,
        )

    def waiting(self) -> contextlib.AbstractContextManager[None]:
        """Watches a wait inside a block, for whatever other workers do."""
        limits = {
            f"{name}_seconds": value
            for name, value in dataclasses.asdict(self._limits).items()
        }
        field = max(limits, key=lambda name: limits[name])
        seconds = limits[field] if all(limits.values()) else 0.0
        return self._watched("Waiting for other workers", field, seconds)

    def saving(self) -> contextlib.AbstractContextManager[None]:
        """Watches that a checkpoint is saved inside a block."""
        return self._watched(
            "Saving a checkpoint", "save_seconds", self._limits.save
        )

    def evaluating(self) -> contextlib.AbstractContextManager[None]:
        """Watches an evaluation inside a block; see `evaluated`."""
        return self._watched(
            "Evaluating a batch", _EVALUATION, self._limits.evaluation
        )

    def evaluated(self) -> None:
        """Reports that a batch was evaluated: the next one begins."""
        with self._lock:
            if self._part is not None and self._part.field == _EVALUATION:
                self._part.begin = self._clock()

    @contextlib.contextmanager
    def _watched(self, name: str, field: str, seconds: float) -> Iterator[None]:
        """Watches a part inside a block; the part around it waits meanwhile."""
        part = _Part(name, field, seconds, self._clock()) if seconds else None
        with self._lock:
            around, self._part = self._part, part
        try:
            yield
        finally:
            with self._lock:
                self._part = around
                if around is not None:
                    around.begin = self._clock()

    def _watch(self) -> None:
        while not self._is_over.wait(_LOOK_SECONDS):
            self.check()

    def check(self) -> None:
        """Ends the process if a part takes longer than its limit."""
        with self._lock:
            part = self._part
            if part is None or self._clock() - part.begin <= part.seconds:
                return
            self._part = None
        try:
            self._tell(part)
        finally:
            self._end_process(stopping.EXIT_CODE)

    def _tell(self, part: _Part) -> None:
        """Writes and says what took too long, as far as that can be done."""
        where = "The stacks of its threads could not be written."
        # The disk may be what hangs.
        stopping.call_within(_WRITE_SECONDS, self._write_stacks)
        if self._stacks:
            where = f"The stacks of its threads are in {self._stacks}."
        text = (
            f"Error: {part.name} took longer than {part.seconds:.0f} s "
            f"(trainer_options.watchdog.{part.field}), so that the "
            f"process ends. {where} The same command continues from the "
            "last checkpoint."
        )
        stopping.leave([lambda: self._say(text), self._before_exit])

    def _write_stacks(self) -> None:
        """Writes the stacks of all threads."""
        host, process = socket.gethostname(), os.getpid()
        path = f"{self._folder.rstrip('/')}/stacks-{host}-{process}.txt"
        with tempfile.TemporaryFile() as file:
            faulthandler.dump_traceback(file, all_threads=True)
            file.seek(0)
            stacks = file.read().decode("utf-8", "replace")
        now = datetime.datetime.now().isoformat(timespec="seconds")
        with contextlib.suppress(Exception):
            whole_files.write_text(path, f"{now}, process {process}\n{stacks}")
            self._stacks = path
