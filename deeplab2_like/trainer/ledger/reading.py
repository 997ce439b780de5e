# SPDX-License-Identifier: Apache-2.0
"""Reads the ledgers of a run: that of the chief, and those of its workers."""

import dataclasses
import importlib
import json
import pathlib
from typing import Any

from deeplab2_like import errors
from deeplab2_like.storage import any_files
from deeplab2_like.trainer.ledger import events

CHIEF = "chief"
_NUMBERS = ("seconds", "steps", "step", "input_wait", "began")


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
    pattern = f"worker_*/{events.FILE}"
    if any_files.is_remote(model_dir):
        gfile = importlib.import_module("tensorflow").io.gfile
        paths = [f"{model_dir}/{events.FILE}"]
        paths += gfile.glob(f"{model_dir}/{pattern}")
        return {
            _name(pathlib.PurePosixPath(path)): gfile.GFile(path, "rb").read()
            for path in paths
            if gfile.exists(path)
        }
    folder = pathlib.Path(model_dir)
    files = [folder / events.FILE, *folder.glob(pattern)]
    return {_name(file): file.read_bytes() for file in files if file.exists()}


def _name(path: pathlib.PurePath) -> str:
    name = path.parent.name
    return name if name.startswith("worker_") else CHIEF


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
    except ValueError:  # Also of bytes that are no text.
        return None
    if not isinstance(event, dict):
        return None
    texts = [event.get("event"), event.get("run")]
    if not all(isinstance(text, str) for text in texts):
        return None
    if not isinstance(event.get("time"), int | float):
        return None
    for name in _NUMBERS:
        if not isinstance(event.get(name, 0.0), int | float | None):
            return None
    if event["event"] == "start" and event.get("began") is None:
        return None
    return event
