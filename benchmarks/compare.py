# SPDX-License-Identifier: Apache-2.0
"""Compares two checkouts in one run, or lists the figures of two runs.

    python benchmarks/compare.py --before=CHECKOUT PROGRAM:CASE...
    python benchmarks/compare.py BEFORE.jsonl AFTER.jsonl

The first measures each case (`metrics:panoptic_quality`) by turns with the code
of CHECKOUT and with this one, and gives the ratio of the medians. The second
lists two files side by side, without ratios: these would compare the machines
and what else they did as much as the code.
"""

import dataclasses
import pathlib
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import measuring, reporting, running  # noqa: E402
from deeplab2_like import errors  # noqa: E402
from deeplab2_like.console import path_flags, program  # noqa: E402
from deeplab2_like.storage import user_paths  # noqa: E402

_BEFORE = path_flags.define(
    "before", None, "Checkout of this project whose code is the baseline."
)
_ROUNDS = flags.DEFINE_integer(
    "rounds", 3, "With --before: how often each side is measured, by turns."
)
_QUICK = flags.FLAGS["quick"]
_INPUTS = flags.FLAGS["inputs"]

_FOLDER = pathlib.Path(__file__).resolve().parent

_Measurements = Mapping[str, measuring.Measurement]


def make_comparison(
    before: _Measurements, after: _Measurements, *, is_one_run: bool
) -> str:
    """Makes a table of two sides; lists the names that one of them lacks.

    Args:
        before: Measurements by name.
        after: Measurements by name.
        is_one_run: Whether both were measured in one run, so that the table
            has ratios.
    """
    both = [name for name in before if name in after]
    width = max((len(name) for name in both), default=11)
    ratios = f"  {'times faster':>12}  {'by CPU':>6}" if is_one_run else ""
    lines = [f"{'measurement':{width}}  {'median ms':>21}{ratios}  {'MB':>15}"]
    for name in both:
        old, new = before[name], after[name]
        walls = f"{old.wall_ms:.1f} -> {new.wall_ms:.1f}"
        if is_one_run:
            wall = f"{_divide(old.wall_ms, new.wall_ms):.2f}"
            processor = f"{_divide(old.cpu_ms, new.cpu_ms):.2f}"
            ratios = f"  {wall:>12}  {processor:>6}"
        memory = ""
        if old.peak_mb is not None and new.peak_mb is not None:
            memory = f"{old.peak_mb:.0f} -> {new.peak_mb:.0f}"
        lines.append(
            f"{name:{width}}  {walls:>21}{ratios}  {memory:>15}".rstrip()
        )
    for where, names in (
        ("first", [name for name in before if name not in after]),
        ("second", [name for name in after if name not in before]),
    ):
        if names:
            side = "side" if is_one_run else "file"
            lines.append(f"Only in the {where} {side}: {', '.join(names)}")
    return "\n".join(lines)


def describe_limits(before: _Measurements, after: _Measurements) -> str:
    """Returns the limits of both machines, or what to do without them."""
    lines = []
    for name in before:
        if not name.startswith(reporting.MACHINE) or name not in after:
            continue
        for value, old in before[name].values.items():
            new = after[name].values.get(value, float("nan"))
            lines.append(f"{name}: {value} {old:.4g} and {new:.4g}")
    if not lines:
        lines.append(
            "The limits of the machines are not in both files: measure them "
            "with machine_limits.py --out=FILE."
        )
    return "\n".join(lines)


def _divide(a: float, b: float) -> float:
    return a / b if b else float("nan")


def _take_medians(
    rounds: Sequence[Sequence[measuring.Measurement]],
) -> dict[str, measuring.Measurement]:
    """Returns the measurements of several rounds with the median times."""
    by_name: dict[str, list[measuring.Measurement]] = {}
    for found in rounds:
        for measurement in found:
            by_name.setdefault(measurement.name, []).append(measurement)
    return {
        name: dataclasses.replace(
            found[-1],
            wall_ms=statistics.median(m.wall_ms for m in found),
            cpu_ms=statistics.median(m.cpu_ms for m in found),
        )
        for name, found in by_name.items()
    }


def measure_both(
    checkout: pathlib.Path, case: str, rounds: int, **options: Any
) -> str:
    """Measures a case with both checkouts by turns; returns the table.

    Args:
        checkout: The checkout that is the baseline.
        case: Program and case, "metrics:panoptic_quality".
        rounds: How often each side is measured.
        **options: Further arguments of `running.measure_case`.
    """
    name, _, rest = case.partition(":")
    sides: list[list[list[measuring.Measurement]]] = [[], []]
    for number in range(rounds):
        for side, folder in enumerate((checkout / "benchmarks", _FOLDER)):
            print(f"{case}, round {number + 1}, {folder.parent}", flush=True)
            path = str(folder / f"{name}.py")
            sides[side].append(running.measure_case(path, rest, **options))
    before, after = map(_take_medians, sides)
    return make_comparison(before, after, is_one_run=True)


def _compare_checkouts(cases: Sequence[str]) -> None:
    checkout = pathlib.Path(_BEFORE.value).resolve()
    if _ROUNDS.value < 1:
        raise errors.ConfigError(
            f"--rounds={_ROUNDS.value} measures nothing. Give 1 or more."
        )
    if not cases:
        raise errors.ConfigError(
            "No case is given. Name one or more as PROGRAM:CASE, for example "
            "metrics:panoptic_quality."
        )
    for case in cases:
        name, _, rest = case.partition(":")
        for folder in (checkout / "benchmarks", _FOLDER):
            if not rest or not (folder / f"{name}.py").is_file():
                raise errors.ConfigError(
                    f"{case!r} names no program of {folder} and its case. "
                    "Write PROGRAM:CASE, for example metrics:panoptic_quality."
                )
    tables = [
        measure_both(
            checkout,
            case,
            _ROUNDS.value,
            inputs=_INPUTS.value,
            quick=_QUICK.value,
        )
        for case in cases
    ]
    print("\n".join(tables))


def _list_files(paths: Sequence[str]) -> None:
    if len(paths) != 2:
        raise errors.ConfigError(
            f"{len(paths)} files were given. Give two, which benchmarks wrote "
            "with --out: before and after. Or compare with a checkout: see "
            "--before."
        )
    before, after = map(reporting.load_lines, paths)
    if not set(before) & set(after):
        raise errors.DataError(
            f"{paths[0]} and {paths[1]} have no measurement in common. Write "
            "both with the same benchmarks."
        )
    print(make_comparison(before, after, is_one_run=False))
    for path in paths:
        print(f"{path}: {reporting.describe_source(path)}")
    print(describe_limits(before, after))
    print(
        "These are two runs, so there are no ratios. For a ratio measure both "
        "in one: compare.py --before=CHECKOUT PROGRAM:CASE."
    )


def _main(arguments: Sequence[str]) -> None:
    for name in ("case", "memory", "out"):  # Of the other programs.
        if flags.FLAGS[name].present:
            raise errors.ConfigError(
                f"--{name} has no meaning here. Remove it; see --help."
            )
    if _BEFORE.value:
        _compare_checkouts(arguments)
    else:
        _list_files([user_paths.expand(path) for path in arguments])


if __name__ == "__main__":
    program.run(_main)
