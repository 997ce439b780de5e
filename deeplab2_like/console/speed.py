# SPDX-License-Identifier: Apache-2.0
"""Measures how fast a phase proceeds, and formats rates and durations."""

import collections

# Rates are those of about the last seconds.
_WINDOW = 30.0
# Closer samples replace each other, so that there are few.
_LEAST_DISTANCE = 0.5


class Speed:
    """Units and images a second, over the last updates.

    The time until the first update does not count when there are others,
    because it contains what is done once (tracing, filling of buffers).
    """

    def __init__(self, start: int, now: float):
        """Starts the measurement.

        Args:
            start: Units that were done before.
            now: Time in seconds.
        """
        # (time, units, images) of updates, oldest first.
        self._samples = collections.deque([(now, start, 0)])
        self._has_first = True

    def add(self, now: float, done: int, images: int) -> None:
        """Adds an update: units and images that are done in total."""
        samples = self._samples
        if len(samples) > 2 and now - samples[-2][0] < _LEAST_DISTANCE:
            samples.pop()
        samples.append((now, done, images))
        if self._has_first and len(samples) > 2:
            samples.popleft()
            self._has_first = False
        while len(samples) > 2 and samples[1][0] <= now - _WINDOW:
            samples.popleft()

    def rates(self) -> tuple[float, float]:
        """Returns units and images a second; 0 when they are not known."""
        (start, units, images), (end, more, more_images) = (
            self._samples[0],
            self._samples[-1],
        )
        seconds = end - start
        if seconds <= 0:
            return 0.0, 0.0
        return (more - units) / seconds, (more_images - images) / seconds

    def seconds_left(self, total: int, now: float) -> float | None:
        """Returns the seconds until `total` units; None when not known."""
        rate, _ = self.rates()
        if rate <= 0:
            return None
        last, done, _ = self._samples[-1]
        return max(0.0, (total - done) / rate - (now - last))


def format_rate(rate: float, unit: str) -> str:
    """Formats a rate: "3.2 steps/s"; "" for 0.

    Args:
        rate: Units a second.
        unit: Name of the units; "" for none.
    """
    if rate <= 0:
        return ""
    number = f"{rate:.2g}" if rate < 1 else f"{rate:.1f}"
    number = number if rate < 99.95 else f"{rate:.0f}"
    return f"{number} {unit}/s" if unit else f"{number}/s"


def format_duration(seconds: float) -> str:
    """Formats a duration: "4:15", "2:03:20" or "3 d 4 h"."""
    rounded = round(seconds)
    minutes, rest = divmod(rounded, 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24} d {hours % 24} h"
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{minutes}:{rest:02d}"
