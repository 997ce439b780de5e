# SPDX-License-Identifier: Apache-2.0
"""Measurements as lines of JSON, and as a table.

A line contains one `measuring.Measurement` with its time, machine and versions.
Times of two runs are not compared: the machine, and what else it did, decide as
much as the code. Ratios are of measurements of one run, see `BASELINES`.
"""

import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks import measuring
from deeplab2_like import errors
from deeplab2_like.storage import json_files

# Prefix of the measurements of the machine's limits.
MACHINE = "machine/"
# Beginning of a measurement's name, and that of one of the same work by another
# way, whose time over its own is its ratio.
BASELINES = {
    "mask_merging/objects": "mask_merging/full_size_objects",
    "mask_merging/whole_image": "mask_merging/full_size_whole_image",
    "forward_bfloat16/": "forward/",
    "image_to_png_bfloat16/": "image_to_png/",
}
_PACKAGES = ("tensorflow", "keras", "numpy", "deeplab2-like")
_BUSY = 0.1


def describe_machine() -> dict[str, Any]:
    """Describes machine and versions, for the lines of JSON."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {
            "processor": _processor_name(),
            "cores": os.cpu_count(),
            "memory_gb": _memory_gb(),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "versions": versions,
    }


def _processor_name() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [x.split(":")[1].strip() for x in lines if "model name" in x]
    return names[0] if names else platform.processor()


def _memory_gb() -> float | None:
    try:
        pages = os.sysconf("SC_PHYS_PAGES")
        return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    except (ValueError, OSError):
        return None


def to_line(
    measurement: measuring.Measurement, context: Mapping[str, Any]
) -> str:
    """Returns the line of JSON of a measurement.

    Args:
        measurement: The measurement.
        context: Result of `describe_machine`.
    """
    return json_files.to_line({**dataclasses.asdict(measurement), **context})


def append_lines(
    path: str | os.PathLike[str],
    measurements: Iterable[measuring.Measurement],
    context: Mapping[str, Any],
) -> None:
    """Appends measurements to a file of JSON lines."""
    with pathlib.Path(path).open("a", encoding="utf-8") as file:
        for measurement in measurements:
            file.write(to_line(measurement, context) + "\n")


def load_lines(
    path: str | os.PathLike[str],
) -> dict[str, measuring.Measurement]:
    """Loads measurements by name; of several with one name, the last.

    Raises:
        DataError: The file is missing or contains something else.
    """
    path = pathlib.Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise errors.DataError(
            f"{path} cannot be read ({error}). Give a file that a benchmark "
            "wrote with --out."
        ) from error
    names = [field.name for field in dataclasses.fields(measuring.Measurement)]
    measurements = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
            found = measuring.Measurement(**{n: content[n] for n in names})
        except (ValueError, KeyError, TypeError) as error:
            raise errors.DataError(
                f"{path}:{number} is no measurement ({error!r}). Give a file "
                "that a benchmark wrote with --out."
            ) from error
        measurements[found.name] = found
    return measurements


def describe_source(path: str | os.PathLike[str]) -> str:
    """Describes the machine of a file of JSON lines, by its last line."""
    lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    content = json.loads(next(line for line in reversed(lines) if line.strip()))
    machine = content.get("machine", {})
    return (
        f"{machine.get('processor', 'unknown processor')}, "
        f"{machine.get('cores', 'unknown')} cores, {content.get('time', '')}"
    ).rstrip(", ")


def make_table(measurements: Sequence[measuring.Measurement]) -> str:
    """Makes a table of the measurements of one run.

    Below it are the limits of the machine, where they were measured, and the
    ratios to `BASELINES` that were measured too.
    """
    header = ("measurement", "median ms", "least ms", "CPU ms", "peak MB")
    lines = [*_align([header, *map(_make_row, measurements)])]
    busy = [m for m in measurements if (m.other_load or 0) > _BUSY]
    if busy:
        most = max(m.other_load or 0 for m in busy)
        lines.append(
            f"The machine did other work during {len(busy)} of "
            f"{len(measurements)} measurements (up to {most:.1f} processors):"
            " their wall times, and the ratios, are unreliable."
        )
    for measurement in measurements:
        for name, value in measurement.values.items():
            lines.append(f"{measurement.name}: {name} {value:.4g}")
    return "\n".join([*lines, *_list_ratios(measurements)])


def _make_row(measurement: measuring.Measurement) -> tuple[str, ...]:
    return (
        measurement.name,
        f"{measurement.wall_ms:.1f}",
        f"{measurement.wall_ms_min:.1f}",
        f"{measurement.cpu_ms:.1f}",
        _number(measurement.peak_mb, ".0f"),
    )


def _list_ratios(
    measurements: Sequence[measuring.Measurement],
) -> list[str]:
    """Lists sentences about measurements and their baselines."""
    by_name = {m.name: m for m in measurements}
    lines = []
    for measurement in measurements:
        for start, other in BASELINES.items():
            name = measurement.name
            if not name.startswith(start) or "/part/" in name:
                continue
            baseline = by_name.get(name.replace(start, other, 1))
            if baseline is not None:
                ratio = baseline.wall_ms / measurement.wall_ms
                lines.append(
                    f"{name}: {ratio:.2f} times faster than {baseline.name}"
                )
    if lines:
        lines.insert(0, "Ratios of this run:")
    return lines


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
