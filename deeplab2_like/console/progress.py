# SPDX-License-Identifier: Apache-2.0
"""Progress of programs: a live line on terminals, log lines elsewhere."""

import contextlib
import time
from collections.abc import Iterator, Mapping

import rich.console
import rich.progress


class Progress:
    """Messages and progress of a program.

    On a terminal the line is live. Elsewhere (a pipe, a pod) a plain line is
    printed at the start, at the end and every `log_seconds` between.
    """

    def __init__(
        self,
        console: rich.console.Console | None = None,
        *,
        log_seconds: float = 30.0,
    ):
        """Creates the display.

        Args:
            console: Console to print to; standard error when None.
            log_seconds: Seconds between two lines where there is no terminal.
        """
        self.console = console or rich.console.Console(
            stderr=True, highlight=False
        )
        self._log_seconds = log_seconds

    def log(self, text: str) -> None:
        """Prints one line."""
        self.console.print(text, soft_wrap=True, markup=False)

    @contextlib.contextmanager
    def phase(self, name: str, total: int | None) -> Iterator["Phase"]:
        """Shows the progress of one phase.

        Args:
            name: Name of the phase, for example "Training".
            total: Number of units (steps, images); None when unknown.

        Yields:
            The phase, whose `advance` reports the progress.
        """
        if not self.console.is_terminal:
            phase = Phase(name, total, self, None, self._log_seconds)
            yield phase
            phase.finish()
            return
        columns = (
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(bar_width=24),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TextColumn("left"),
            rich.progress.TimeRemainingColumn(elapsed_when_finished=False),
            rich.progress.TextColumn("{task.fields[values]}"),
        )
        with rich.progress.Progress(*columns, console=self.console) as bars:
            yield Phase(name, total, self, bars, self._log_seconds)


class Phase:
    """A phase of a program; see `Progress.phase`."""

    def __init__(
        self,
        name: str,
        total: int | None,
        progress: Progress,
        bars: rich.progress.Progress | None,
        log_seconds: float,
    ):
        """Starts the phase.

        Args:
            name: Name of the phase.
            total: Number of units; None when unknown.
            progress: Display that prints the lines.
            bars: Live line; None where there is no terminal.
            log_seconds: Seconds between two lines where there is no terminal.
        """
        self._name = name
        self._total = total
        self._progress = progress
        self._bars = bars
        self._log_seconds = log_seconds
        self._done = 0
        self._start = self._last_line = time.monotonic()
        self._values = ""
        if bars is not None:
            self._task = bars.add_task(name, total=total, values="")
        else:
            progress.log(f"{name} ...")

    def advance(
        self, done: int, values: Mapping[str, float] | None = None
    ) -> None:
        """Reports that `done` units are done in total.

        Args:
            done: Units done since the phase began, or the step reached.
            values: Numbers to show, for example losses.
        """
        self._done = done
        if values is not None:
            self._values = " ".join(
                f"{name} {value:.3g}" for name, value in values.items()
            )
        if self._bars is not None:
            self._bars.update(self._task, completed=done, values=self._values)
        elif time.monotonic() - self._last_line >= self._log_seconds:
            self._last_line = time.monotonic()
            self._progress.log(self._line())

    def finish(self) -> None:
        """Prints the last line of a phase without a live line."""
        seconds = time.monotonic() - self._start
        self._progress.log(f"{self._line()} ({seconds:.0f} s)")

    def _line(self) -> str:
        of_total = "" if self._total is None else f"/{self._total}"
        return f"{self._name} {self._done}{of_total} {self._values}".rstrip()
