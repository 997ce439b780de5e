# SPDX-License-Identifier: Apache-2.0
"""Time and memory of a function, the memory without that of its inputs.

Wall time is what a user waits for. Processor time, of all threads together,
also counts on a machine that does other work.

The peak of the memory is that of the resident set during one run, less what
was resident before it; Linux only, None elsewhere. TensorFlow with oneDNN keeps
memory that it has allocated, so there are two ways: FIRST_RUN takes the first
run of a process, including what is set up in it. WARM takes a later run, and is
right only where freed memory is returned to the system (see `running`).
"""

import ctypes
import ctypes.util
import dataclasses
import enum
import gc
import os
import pathlib
import re
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

_PROC = pathlib.Path("/proc")
# Resets the peak of the resident set; see `man 5 proc`.
_RESET_PEAK = "5"


class Memory(enum.Enum):
    """The run in which the memory is measured; see the module."""

    NOT = enum.auto()
    FIRST_RUN = enum.auto()
    WARM = enum.auto()


@dataclasses.dataclass(frozen=True)
class Effort:
    """How long and how often a function is measured.

    Attributes:
        seconds: Time for which runs are repeated.
        min_runs: Least number of runs, even if they take longer.
        max_runs: Largest number of runs, even if they take less time.
        warm_ups: Runs before, which are not measured.
    """

    seconds: float = 15.0
    min_runs: int = 5
    max_runs: int = 50
    warm_ups: int = 2

    def __post_init__(self):
        if not 1 <= self.min_runs <= self.max_runs:
            raise ValueError(
                f"min_runs is {self.min_runs} and max_runs {self.max_runs} - "
                "1 <= min_runs <= max_runs is needed."
            )


QUICK = Effort(seconds=1.5, min_runs=3, max_runs=20, warm_ups=1)
ONCE = Effort(seconds=0.0, min_runs=1, max_runs=1, warm_ups=1)


@dataclasses.dataclass(frozen=True)
class Measurement:
    """The result of one measurement; times in milliseconds a run.

    Attributes:
        name: Name of the measurement, unique among the benchmarks.
        sizes: Numbers that describe the input.
        wall_ms: Median of the wall times.
        wall_ms_min: Least of the wall times.
        cpu_ms: Median of the processor times, all threads together.
        cpu_ms_min: Least of the processor times.
        peak_mb: Memory above the inputs in 10**6 bytes; None: not measured.
        runs: Number of runs that were measured.
        other_load: Mean number of processors that other processes used
            meanwhile. Above 0.1 the wall times are unreliable.
        values: Other results by name, such as a bandwidth.
    """

    name: str
    sizes: Mapping[str, Any]
    wall_ms: float
    wall_ms_min: float
    cpu_ms: float
    cpu_ms_min: float
    peak_mb: float | None
    runs: int
    other_load: float | None
    values: Mapping[str, float] = dataclasses.field(default_factory=dict)


def measure(
    name: str,
    run: Callable[[], object],
    *,
    sizes: Mapping[str, Any] | None = None,
    effort: Effort | None = None,
    memory: Memory = Memory.NOT,
) -> Measurement:
    """Measures a function.

    Args:
        name: Name of the measurement.
        run: Function that does the work once, on inputs that exist already,
            and returns when it is done.
        sizes: Numbers that describe the input.
        effort: How long and how often `run` is called; None: `Effort()`.
        memory: The run in which the memory is measured too.
    """
    effort = effort or Effort()
    peak = None
    if memory is Memory.FIRST_RUN:
        peak = measure_peak_mb(run)
    for _ in range(effort.warm_ups):
        run()
    if memory is Memory.WARM:
        peak = measure_peak_mb(run)
    walls: list[float] = []
    processors: list[float] = []
    gc.collect()
    busy, own = busy_seconds(), time.process_time()
    start = time.perf_counter()
    while len(walls) < effort.min_runs or (
        len(walls) < effort.max_runs
        and time.perf_counter() - start < effort.seconds
    ):
        wall, processor = time.perf_counter(), time.process_time()
        run()
        processors.append(time.process_time() - processor)
        walls.append(time.perf_counter() - wall)
    elapsed = time.perf_counter() - start
    own = time.process_time() - own
    return Measurement(
        name=name,
        sizes=dict(sizes or {}),
        wall_ms=1000 * statistics.median(walls),
        wall_ms_min=1000 * min(walls),
        cpu_ms=1000 * statistics.median(processors),
        cpu_ms_min=1000 * min(processors),
        peak_mb=peak,
        runs=len(walls),
        other_load=other_load(busy, own, elapsed),
    )


def per_item(measurement: Measurement, items: int) -> Measurement:
    """Divides the times by the number of items that each run handles."""
    times = {
        name: getattr(measurement, name) / items
        for name in ("wall_ms", "wall_ms_min", "cpu_ms", "cpu_ms_min")
    }
    return dataclasses.replace(measurement, **times)


def with_values(
    measurement: Measurement, values: Mapping[str, float]
) -> Measurement:
    """Adds other results to a measurement."""
    return dataclasses.replace(
        measurement, values={**measurement.values, **values}
    )


def measure_peak_mb(run: Callable[[], object]) -> float | None:
    """Runs once and returns the memory that it added, in 10**6 bytes."""
    gc.collect()
    return_free_memory()
    before = _resident_bytes("VmRSS")
    if before is None or not _reset_peak():
        return None
    run()
    after = _resident_bytes("VmHWM")
    return None if after is None else max(0, after - before) / 1e6


def return_free_memory() -> None:
    """Returns memory that was freed back to the system, where glibc can."""
    name = ctypes.util.find_library("c")
    library = ctypes.CDLL(name) if name else None
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def _resident_bytes(field: str) -> int | None:
    """Reads VmRSS (present) or VmHWM (peak) of this process."""
    try:
        text = (_PROC / "self/status").read_text()
    except OSError:
        return None
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    return None if found is None else 1024 * int(found[1])


def _reset_peak() -> bool:
    try:
        (_PROC / "self/clear_refs").write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


def busy_seconds() -> float | None:
    """Returns the seconds that all processors worked since the system start."""
    try:
        line = (_PROC / "stat").read_text().splitlines()[0]
    except OSError:
        return None
    user, nice, system, _, _, irq, soft_irq = map(int, line.split()[1:8])
    ticks = user + nice + system + irq + soft_irq
    return ticks / os.sysconf("SC_CLK_TCK")


def other_load(
    busy_before: float | None, own: float, elapsed: float
) -> float | None:
    """Returns the mean number of processors that other processes used.

    Args:
        busy_before: Result of `busy_seconds` at the beginning.
        own: Processor seconds that were used on purpose since then.
        elapsed: Seconds since then.
    """
    busy_after = busy_seconds()
    if busy_before is None or busy_after is None:
        return None
    return max(0.0, busy_after - busy_before - own) / elapsed
