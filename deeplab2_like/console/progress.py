# SPDX-License-Identifier: Apache-2.0
"""Progress of programs: a live line on terminals, log lines elsewhere."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

import rich.console
import rich.live
import rich.text

from deeplab2_like.console import speed as speed_lib

_SPACE = "  "
_LEAST_BAR = 6


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
        clock: Callable[[], float] = time.monotonic,
    ):
        """Creates the display.

        Args:
            console: Console to print to; standard error when None.
            log_seconds: Seconds between two lines where there is no terminal.
            clock: Function that returns the time in seconds.
        """
        self.console = console or rich.console.Console(
            stderr=True, highlight=False
        )
        self.clock = clock
        self._log_seconds = log_seconds
        self._live: rich.live.Live | None = None
        self._phases: list[Phase] = []

    def log(self, text: str) -> None:
        """Prints one line."""
        self.console.print(text, soft_wrap=True, markup=False)

    @contextlib.contextmanager
    def phase(
        self, name: str, total: int | None, *, start: int = 0, unit: str = ""
    ) -> Iterator["Phase"]:
        """Shows the progress of one phase, which may contain others.

        Args:
            name: Name of the phase, for example "Training".
            total: Number of units (steps, images); None when unknown.
            start: Units that were done before the phase.
            unit: Name of the units in the rate, for example "steps".

        Yields:
            The phase, whose `advance` reports the progress.
        """
        console = self.console
        if not console.is_terminal or console.is_dumb_terminal:
            phase = Phase(name, total, self, start=start, unit=unit)
            phase.log_every(self._log_seconds)
            yield phase
            phase.finish()
            return
        phase = Phase(name, total, self, start=start, unit=unit)
        self._phases.append(phase)
        with self._open_live():
            try:
                yield phase
                phase.advance(phase.done)
            finally:
                # The last line of the outermost phase stays by itself.
                if len(self._phases) > 1:
                    self._phases.remove(phase)
                    console.print(phase)
        if self._live is None:
            self._phases.clear()

    @contextlib.contextmanager
    def _open_live(self) -> Iterator[None]:
        """Shows a line for each phase; phases inside others share the block."""
        if self._live is not None:
            yield
            return
        self._live = rich.live.Live(
            get_renderable=lambda: rich.console.Group(*self._phases),
            console=self.console,
            refresh_per_second=4,
        )
        try:
            with self._live:
                yield
        finally:
            self._live = None


class Phase:
    """A phase of a program; see `Progress.phase`.

    Attributes:
        done: Units that are done, those before the phase included.
    """

    def __init__(
        self,
        name: str,
        total: int | None,
        progress: Progress,
        *,
        start: int = 0,
        unit: str = "",
    ):
        """Starts the phase.

        Args:
            name: Name of the phase.
            total: Number of units; None when unknown.
            progress: Display that prints the lines.
            start: Units that were done before.
            unit: Name of the units.
        """
        self.done = start
        self._name = name
        self._total = total
        self._progress = progress
        self._unit = unit
        self._clock = progress.clock
        self._start = self._last_line = self._clock()
        self._speed = speed_lib.Speed(start, self._start)
        self._values: list[str] = []
        self._log_seconds: float | None = None

    def log_every(self, seconds: float) -> None:
        """Prints a line now, and one every `seconds` from now on."""
        self._log_seconds = seconds
        begin = self._count() if self.done else self._name
        self._progress.log(f"{begin} ...")

    def advance(
        self,
        done: int,
        values: Mapping[str, float] | None = None,
        *,
        images: int = 0,
    ) -> None:
        """Reports that `done` units are done in total.

        Args:
            done: Units done since the phase began, or the step reached.
            values: Numbers to show, for example losses, most important first.
            images: Images of this phase so far, for their rate.
        """
        now = self._clock()
        if done != self.done:
            self._speed.add(now, done, images)
        self.done = done
        if values is not None:
            self._values = [f"{k} {v:.3g}" for k, v in values.items()]
        if self._log_seconds is None:
            return
        if now - self._last_line >= self._log_seconds:
            self._last_line = now
            self._progress.log(self._line())

    def finish(self) -> None:
        """Prints the last line of a phase without a live line."""
        seconds = self._clock() - self._start
        self._progress.log(f"{self._line()}{_SPACE}({seconds:.0f} s)")

    def _count(self) -> str:
        of_total = "" if self._total is None else f"/{self._total}"
        return f"{self._name} {self.done}{of_total}"

    def _rates(self) -> list[str]:
        units, images = self._speed.rates()
        rates = [speed_lib.format_rate(units, self._unit)]
        if self._unit != "images":
            rates.append(speed_lib.format_rate(images, "images"))
        return [rate for rate in rates if rate]

    def _left(self) -> list[str]:
        if self._total is None or self.done >= self._total:
            return []
        seconds = self._speed.seconds_left(self._total, self._clock())
        if seconds is None:
            return []
        return [f"{speed_lib.format_duration(seconds)} left"]

    def _line(self) -> str:
        return _SPACE.join(
            [self._count(), *self._rates(), *self._left(), *self._values]
        )

    def __rich_console__(
        self,
        console: rich.console.Console,
        options: rich.console.ConsoleOptions,
    ) -> rich.console.RenderResult:
        """Yields the live line, as much of it as fits the width."""
        width = options.max_width
        rates, left = self._rates(), self._left()
        needed = [self._count(), *rates[:1], *left]
        room = width - len(_SPACE.join(needed))
        bar = rich.text.Text()
        # Room for a bar, and for the most important of the other numbers.
        size = min(24, max(_LEAST_BAR, room // 4), room - len(_SPACE))
        if self._total and size >= _LEAST_BAR:
            bar = _make_bar(self.done / self._total, size, console, options)
            room -= size + len(_SPACE)
        others = []
        for part in [*self._values[:1], *rates[1:], *self._values[1:]]:
            if len(_SPACE) + len(part) > room:
                break
            others.append(part)
            room -= len(_SPACE) + len(part)
        line = rich.text.Text(needed[0], no_wrap=True, overflow="ellipsis")
        if bar:
            line.append(_SPACE)
            line.append(bar)
        for part in [*needed[1:], *others]:
            line.append(f"{_SPACE}{part}")
        yield line


def _make_bar(
    share: float,
    size: int,
    console: rich.console.Console,
    options: rich.console.ConsoleOptions,
) -> rich.text.Text:
    """Draws a bar of `size` characters, of which a share is complete."""
    full, half, rest = (
        ("-", " ", " ") if options.ascii_only else ("━", "╸", "━")
    )
    if console.no_color or console.color_system is None:
        rest = " "  # Without colors it would look complete.
    halves = int(2 * size * min(max(share, 0.0), 1.0))
    complete = full * (halves // 2) + half * (halves % 2)
    style = "bar.finished" if share >= 1 else "bar.complete"
    bar = rich.text.Text(complete, style=style)
    bar.append(rest * (size - len(complete)), style="bar.back")
    return bar
