# SPDX-License-Identifier: Apache-2.0
"""Reads the ledgers of a run: that of the chief, and those of its workers."""

import contextlib
import dataclasses
import json
from typing import Any

from deeplab2_like import errors
from deeplab2_like.storage import any_files
from deeplab2_like.trainer.ledger import events

CHIEF = "chief"
_SECONDS = ("time", "began", "seconds", "input_wait")
_COUNTS = ("step", "steps", "batch_size", "replicas")
_MOST = 1e15  # Of a damaged number.


@dataclasses.dataclass(frozen=True)
class Attempt:
    """The events between one start and its end, in order.

    Attributes:
        start: The start event.
        events: All events after it.
    """

    start: dict[str, Any]
    events: list[dict[str, Any]]

    @property
    def began(self) -> float:
        """When the program began, in seconds since 1970."""
        return float(self.start["began"])

    @property
    def end(self) -> float:
        """When its last event ended, in seconds since 1970."""
        last = self.events[-1] if self.events else self.start
        return float(last["time"])

    @property
    def reason(self) -> str:
        """Why it ended; "" where it does not say: killed, or running."""
        for event in self.events:
            if event["event"] == "stop":
                return str(event.get("reason", ""))
        return ""

    @property
    def first_step(self) -> int | None:
        """The step that it continued from; None if it did not get so far."""
        for event in self.events:
            if event["event"] == "restore" and event.get("step") is not None:
                return int(event["step"])
        return None


@dataclasses.dataclass(frozen=True)
class WorkerLedger:
    """The ledger of one process of a run.

    Attributes:
        name: "chief", or the name of the worker's folder.
        attempts: What it did, oldest first.
        unreadable: Number of lines that are no event, as one that was being
            written when the process was killed.
    """

    name: str
    attempts: list[Attempt]
    unreadable: int


def read_run(model_dir: str) -> list[WorkerLedger]:
    """Reads all ledgers of a model folder, that of the chief first.

    Args:
        model_dir: The model folder.

    Raises:
        DataError: There is none with an event.
    """
    contents = _read_files(model_dir)
    ledgers = [
        parse_ledger(contents[name], name)
        for name in sorted(contents, key=_place)
    ]
    ledgers = [ledger for ledger in ledgers if ledger.attempts]
    if not ledgers:
        raise errors.DataError(
            f"{model_dir}/{events.FILE} has no events. Give the folder of a "
            "run that deeplab2-train has made, with --mode=train or "
            "train_and_eval."
        )
    return ledgers


def _read_files(model_dir: str) -> dict[str, bytes]:
    """Returns the content of each file by the name of its process."""
    names = ["", *filter(_is_worker, any_files.list_names(model_dir))]
    found = {}
    for name in names:
        folder = any_files.join(model_dir, name) if name else model_dir
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found[name or CHIEF] = any_files.read_bytes(
                any_files.join(folder, events.FILE)
            )
    return found


def _is_worker(name: str) -> bool:
    return name.startswith("worker_")


def _place(name: str) -> tuple[int, str]:
    """Orders names: the chief, then the workers by number."""
    number = name.rpartition("_")[2]
    return (int(number) if number.isdecimal() else -1, name)


def parse_ledger(content: bytes, name: str) -> WorkerLedger:
    """Parses one file; lines that are no event are counted and left out.

    Args:
        content: Content of the file.
        name: Name of its process.
    """
    starts: dict[str, dict[str, Any]] = {}
    others: dict[str, list[dict[str, Any]]] = {}
    unreadable = 0
    for line in content.split(b"\n"):
        if not line.strip():
            continue
        event = _parse(line)
        if event is None:
            unreadable += 1
        elif event["event"] == "start":
            starts[event["run"]] = event
        else:
            others.setdefault(event["run"], []).append(event)
    attempts = [
        Attempt(start, others.get(run, [])) for run, start in starts.items()
    ]
    attempts.sort(key=lambda attempt: attempt.began)
    return WorkerLedger(name, attempts, unreadable)


def _parse(line: bytes) -> dict[str, Any] | None:
    """Returns the event of a line; None if there is none."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):  # Also of bytes that are no text.
        return None
    if not isinstance(event, dict):
        return None
    texts = [event.get("event"), event.get("run")]
    if not all(isinstance(text, str) for text in texts):
        return None
    needed = ["time", "began"] if event["event"] == "start" else ["time"]
    if any(event.get(name) is None for name in needed):
        return None
    is_good = [
        *(_is_number(event.get(name), int | float) for name in _SECONDS),
        *(_is_number(event.get(name), int) for name in _COUNTS),
    ]
    return event if all(is_good) else None


def _is_number(value: Any, kind: Any) -> bool:
    """Returns whether a value is a number of that kind from 0 on, or None."""
    if value is None:
        return True
    return isinstance(value, kind) and 0 <= value < _MOST
