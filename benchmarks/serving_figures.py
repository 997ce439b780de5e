# SPDX-License-Identifier: Apache-2.0
"""Measurements of answers of servers."""

import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence

from benchmarks import measuring, server_process, serving_clients


class Watch:
    """Time, processor time and other load of what runs in a block."""

    def __init__(self, servers: Sequence[server_process.ServerProcess]):
        """Begins.

        Args:
            servers: Whose processor time is no other load; may be added to.
        """
        self._servers = servers
        self._busy = measuring.busy_seconds()
        self._own = self._read_own()
        self._start = time.monotonic()

    def _read_own(self) -> float:
        times = os.times()
        ended = times.children_user + times.children_system
        running = sum(server.cpu_seconds() for server in self._servers)
        return time.process_time() + ended + running

    def seconds(self) -> float:
        """Returns the seconds since the beginning."""
        return time.monotonic() - self._start

    def other_load(self) -> float | None:
        """Returns how many processors others used since the beginning."""
        own = self._read_own() - self._own
        return measuring.other_load(self._busy, own, self.seconds())


def make_measurement(
    name: str,
    seconds: Sequence[float],
    watch: Watch,
    values: Mapping[str, float],
    *,
    cpu_ms: float = 0.0,
    peak_mb: float | None = None,
    sizes: Mapping[str, int] | None = None,
) -> measuring.Measurement:
    """Makes a measurement of the times of answers.

    Args:
        name: Name of the measurement.
        seconds: The times; there may be none.
        watch: What was going on meanwhile.
        values: Other results.
        cpu_ms: Processor time of the server for an image.
        peak_mb: Largest memory of the server.
        sizes: Numbers that describe what was done.
    """
    times = seconds or [0.0]
    return measuring.Measurement(
        name=f"serving/{name}",
        sizes=dict(sizes or {}),
        wall_ms=1000 * statistics.median(times),
        wall_ms_min=1000 * min(times),
        cpu_ms=cpu_ms,
        cpu_ms_min=cpu_ms,
        peak_mb=peak_mb,
        runs=len(seconds),
        other_load=watch.other_load(),
        values=dict(values),
    )


def list_counts(tally: serving_clients.Tally) -> dict[str, float]:
    """Lists the outcomes; prints what the wrong answers were."""
    for remark in tally.remarks:
        print(remark, file=sys.stderr)
    counts = {serving_clients.WRONG: 0, **tally.counts}
    return {name: float(count) for name, count in sorted(counts.items())}
