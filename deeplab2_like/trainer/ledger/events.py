# SPDX-License-Identifier: Apache-2.0
"""Writes the ledger of a run: one line of JSON for each event.

Every line has `event`, `run` (a number that is drawn for each start), `time`
(its end, in seconds since 1970) and, where it lasted, `seconds`. Events of one
run do not overlap, except that `start` says when the program began.

| event | further fields |
|---|---|
| start | began, host, process, worker, workers, replicas, strategy, ... |
| restore | seconds, step: the step that training continues from, 0 for none |
| first_step | seconds, step, steps (1), input_wait: traced and compiled in it |
| loop | seconds, step, steps, input_wait: steps up to `step` |
| save | seconds, step |
| evaluation | seconds, step |
| stop | step, reason |

`input_wait` is the part of `seconds` in which steps waited for their batch;
null where it was not measured.
"""

import contextlib
import importlib
import os
import pathlib
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

from deeplab2_like import errors
from deeplab2_like.storage import any_files, json_files

FILE = "ledger.jsonl"

# Loops without other events between them share a line up to this.
_SECONDS_A_LINE = 10.0
_MOST_REASON = 200


def make_clock() -> Callable[[], float]:
    """Returns a function for the time in seconds since 1970.

    Unlike `time.time` it never goes back while the process lives.
    """
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()


def find_process_start() -> float:
    """Returns when this process began, in seconds since 1970.

    Where the system does not tell, it is the time of the call.
    """
    try:
        text = pathlib.Path("/proc/self/stat").read_text(encoding="ascii")
        ticks = int(text.rpartition(")")[2].split()[19])
        since_boot = ticks / os.sysconf("SC_CLK_TCK")
        up = time.clock_gettime(time.CLOCK_BOOTTIME)
        return time.time() - max(0.0, up - since_boot)
    except (OSError, ValueError, IndexError, AttributeError):
        return time.time()


class Ledger:
    """The events of one run, appended to a file.

    What cannot be written is left out with one message: a ledger never stops a
    training.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None,
        *,
        clock: Callable[[], float] | None = None,
        log: Callable[[str], None] = lambda _: None,
    ):
        """Stores the place; writes nothing yet.

        Args:
            folder: Folder of the file; None: nothing is written.
            clock: Function that returns the time in seconds since 1970; that
                of `make_clock` when None.
            log: Function that prints a line.
        """
        self.clock = clock or make_clock()
        self._path = None if folder is None else f"{os.fspath(folder)}/{FILE}"
        self._log = log
        self._run = secrets.token_hex(4)
        self._has_begun = False
        self._step: int | None = None
        self._loop: dict[str, Any] | None = None

    @contextlib.contextmanager
    def attempt(self, began: float, **fields: Any) -> Iterator[None]:
        """Notes the start, and at the end of the block the stop.

        Args:
            began: When the program began, in seconds since 1970.
            fields: Further fields of `start`.
        """
        now = self.clock()
        self.add(
            "start",
            began=min(began, now),
            host=socket.gethostname(),
            process=os.getpid(),
            **fields,
        )
        try:
            yield
        except BaseException as error:
            self._stop(_describe(error))
            raise
        self._stop("finished")

    def _stop(self, reason: str) -> None:
        self.add("stop", step=self._step, reason=reason[:_MOST_REASON])

    def add(self, event: str, **fields: Any) -> None:
        """Writes an event that ends now, and loops that wait for it."""
        self.flush()
        self._write({"event": event, "time": self.clock(), **fields})

    @contextlib.contextmanager
    def measure(
        self, event: str, step: int | None = None, *, at_least: float = 0.0
    ) -> Iterator[dict[str, Any]]:
        """Notes an event that lasts as long as the block, unless it fails.

        Args:
            event: Name of the event.
            step: The step of the run; None if it is not known yet.
            at_least: Seconds below which nothing is noted.

        Yields:
            The fields of the event, to which more may be added.
        """
        begin = self.clock()
        fields: dict[str, Any] = {"step": step}
        yield fields
        seconds = self.clock() - begin
        if seconds >= at_least:
            self.add(event, seconds=seconds, **fields)

    def add_loop(
        self, step: int, steps: int, seconds: float, input_wait: float | None
    ) -> None:
        """Notes steps that ended now.

        Args:
            step: The last of them.
            steps: Their number.
            seconds: How long they took.
            input_wait: How long they waited for batches; None: unknown.
        """
        now = self.clock()
        self._step = step
        loop = self._loop
        if loop is None or (input_wait is None) != (loop["input_wait"] is None):
            self.flush()
            loop = {"steps": 0, "seconds": 0.0}
            loop["input_wait"] = None if input_wait is None else 0.0
        loop |= {"event": "loop", "time": now, "step": step}
        loop["steps"] += steps
        loop["seconds"] += seconds
        if input_wait is not None:
            loop["input_wait"] += input_wait
        self._loop = loop
        if loop["seconds"] >= _SECONDS_A_LINE:
            self.flush()

    def flush(self) -> None:
        """Writes the loops that were noted."""
        if self._loop is not None:
            loop, self._loop = self._loop, None
            self._write(loop)

    def _write(self, event: dict[str, Any]) -> None:
        if self._path is None:
            return
        event["run"] = self._run
        try:
            _append(self._path, json_files.to_line(event), not self._has_begun)
            self._has_begun = True
        except OSError as error:
            self._log(
                f"warning: {self._path} cannot be written "
                f"({error.strerror or error}), so that deeplab2-ledger will "
                "not know about this run."
            )
            self._path = None


def _append(address: str, line: str, checks_end: bool) -> None:
    """Appends a line in one piece.

    Args:
        address: The file; it and its folder are created where they are
            missing.
        line: The line, without its end.
        checks_end: Whether the file may end with a part of a line, left by a
            process that was killed; it then gets an end.
    """
    if any_files.is_remote(address):
        _append_remote(address, f"\n{line}" if checks_end else line)
        return
    path = pathlib.Path(address)
    if checks_end:
        path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+", buffering=0) as stream:
        if checks_end and stream.seek(0, os.SEEK_END):
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                line = f"\n{line}"
        stream.write(f"{line}\n".encode())


def _append_remote(address: str, line: str) -> None:
    tensorflow = importlib.import_module("tensorflow")
    gfile = tensorflow.io.gfile
    try:
        gfile.makedirs(address.rpartition("/")[0])
        with gfile.GFile(address, "a") as stream:
            stream.write(f"{line}\n")
    except tensorflow.errors.OpError as error:
        raise OSError(error.message) from error


def _describe(error: BaseException) -> str:
    """Describes in a few words why a run ended."""
    if isinstance(error, SystemExit):
        if error.code == errors.WorkerError.exit_code:
            return "asked to stop"
        return "interrupted" if error.code == 130 else f"exit {error.code}"
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
