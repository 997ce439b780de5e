# SPDX-License-Identifier: Apache-2.0
"""Compares two files of measurements: how many times faster the second is.

python benchmarks/compare.py BEFORE.jsonl AFTER.jsonl
"""

import pathlib
import sys
from collections.abc import Mapping, Sequence

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import measuring, reporting  # noqa: E402
from deeplab2_like import errors  # noqa: E402
from deeplab2_like.console import program  # noqa: E402


def make_comparison(
    before: Mapping[str, measuring.Measurement],
    after: Mapping[str, measuring.Measurement],
) -> str:
    """Makes a table of the ratios; lists the names that one file lacks."""
    both = [name for name in before if name in after]
    width = max((len(name) for name in both), default=11)
    lines = [
        f"{'measurement':{width}}  {'median ms':>21}  {'times faster':>12}"
        f"  {'by CPU':>6}  {'MB':>15}"
    ]
    for name in both:
        old, new = before[name], after[name]
        walls = f"{old.wall_ms:.1f} -> {new.wall_ms:.1f}"
        wall, processor = (
            f"{_divide(a, b):.2f}"
            for a, b in (
                (old.wall_ms, new.wall_ms),
                (old.cpu_ms, new.cpu_ms),
            )
        )
        memory = ""
        if old.peak_mb is not None and new.peak_mb is not None:
            memory = f"{old.peak_mb:.0f} -> {new.peak_mb:.0f}"
        lines.append(
            f"{name:{width}}  {walls:>21}  {wall:>12}  {processor:>6}"
            f"  {memory:>15}".rstrip()
        )
    for where, names in (
        ("first", [name for name in before if name not in after]),
        ("second", [name for name in after if name not in before]),
    ):
        if names:
            lines.append(f"Only in the {where} file: {', '.join(names)}")
    return "\n".join(lines)


def _divide(a: float, b: float) -> float:
    return a / b if b else float("nan")


def _main(arguments: Sequence[str]) -> None:
    if len(arguments) != 2:
        raise errors.ConfigError(
            f"{len(arguments)} files were given. Give two, which benchmarks "
            "wrote with --out: before and after."
        )
    before, after = map(reporting.load_lines, arguments)
    if not set(before) & set(after):
        raise errors.DataError(
            f"{arguments[0]} and {arguments[1]} have no measurement in common."
            " Write both with the same benchmarks."
        )
    print(make_comparison(before, after))


if __name__ == "__main__":
    program.run(_main)
