# SPDX-License-Identifier: Apache-2.0
"""Tables of benchmarks that have columns of their own, in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from deeplab2_like import errors


def read_numbers(values: Sequence[str], name: str) -> list[int]:
    """Reads the values of a flag that is a list of numbers above 0.

    Raises:
        errors.ConfigError: One is none.
    """
    try:
        numbers = [int(value) for value in values]
    except ValueError:
        numbers = [0]
    if any(number < 1 for number in numbers):
        raise errors.ConfigError(
            f"--{name}={','.join(values)} must be whole numbers above 0, such "
            "as 2,4."
        )
    return numbers


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints rows with the same columns, of which there is at least one."""
    names = list(rows[0])
    print("| " + " | ".join(names) + " |")
    print("|" + "---|" * len(names))
    for row in rows:
        cells = (
            f"{v:.1f}" if isinstance(v, float) else str(v) for v in row.values()
        )
        print("| " + " | ".join(cells) + " |")
