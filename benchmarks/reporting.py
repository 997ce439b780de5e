# SPDX-License-Identifier: Apache-2.0
"""Measurements as lines of JSON and as a table beside the reference's figures.

A line contains one `measuring.Measurement` with its time, machine and versions.
`reference_figures.json` contains the figures of the reference for the same
work, in another run on a machine of the same kind, and how many times faster
this project aims to be.
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

REFERENCE_FILE = pathlib.Path(__file__).with_name("reference_figures.json")
_PACKAGES = ("tensorflow", "keras", "numpy", "deeplab2-like")
_BUSY = 0.1


@dataclasses.dataclass(frozen=True)
class Reference:
    """Figures of the reference for the same work.

    Attributes:
        wall_ms: Median of the wall times in milliseconds.
        memory_mb: Memory in 10**6 bytes; None: not known.
        aim: How many times faster this project aims to be; None: no aim.
    """

    wall_ms: float
    memory_mb: float | None = None
    aim: float | None = None


def load_reference(
    path: str | os.PathLike[str] = REFERENCE_FILE,
) -> dict[str, Reference]:
    """Loads the reference's figures by the name of the measurement."""
    content = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    return {
        name: Reference(**fields) for name, fields in content["figures"].items()
    }


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
    return json.dumps({**dataclasses.asdict(measurement), **context})


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


def make_table(
    measurements: Sequence[measuring.Measurement],
    reference: Mapping[str, Reference],
) -> str:
    """Makes a table with the ratio to the reference beside each figure."""
    rows = [_make_row(m, reference.get(m.name)) for m in measurements]
    header = (
        "measurement",
        "median ms",
        "least ms",
        "CPU ms",
        "peak MB",
        "reference ms*",
        "times faster",
        "aim",
        "",
    )
    lines = [*_align([header, *rows])]
    lines.append(
        "* google-research/deeplab2, or what reference_figures.json names, in"
        " another run on a machine of the same kind; its MB behind the slash."
    )
    busy = [m for m in measurements if (m.other_load or 0) > _BUSY]
    if busy:
        most = max(m.other_load or 0 for m in busy)
        lines.append(
            f"The machine did other work during {len(busy)} of "
            f"{len(measurements)} measurements (up to {most:.1f} processors):"
            " their wall times, and the ratios, are too pessimistic."
        )
    for measurement in measurements:
        for name, value in measurement.values.items():
            lines.append(f"{measurement.name}: {name} {value:.4g}")
    return "\n".join(lines)


def _make_row(
    measurement: measuring.Measurement, reference: Reference | None
) -> tuple[str, ...]:
    row = [
        measurement.name,
        f"{measurement.wall_ms:.1f}",
        f"{measurement.wall_ms_min:.1f}",
        f"{measurement.cpu_ms:.1f}",
        _number(measurement.peak_mb, ".0f"),
    ]
    if reference is None:
        return (*row, "", "", "", "")
    ratio = reference.wall_ms / measurement.wall_ms
    memory = _number(reference.memory_mb, ".0f")
    row.append(
        f"{reference.wall_ms:.0f}" + (f" / {memory} MB" if memory else "")
    )
    row.append(f"{ratio:.2f} (other run)")
    if reference.aim is None:
        return (*row, "", "")
    verdict = "reached" if ratio >= reference.aim else "missed"
    return (*row, f"{reference.aim:g}", verdict)


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
