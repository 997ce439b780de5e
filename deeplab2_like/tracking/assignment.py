# SPDX-License-Identifier: Apache-2.0
"""The pairing of two sets that has the largest sum. Needs SciPy."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors

Pair = tuple[int, int]


def require_solver() -> Callable[..., Any]:
    """Returns SciPy's solver of assignments.

    Raises:
        InstallError: SciPy is not installed.
    """
    try:
        from scipy import optimize
    except ImportError as error:
        raise errors.InstallError(
            f"Linking segments needs the package {error.name}. Install it "
            "with: pip install 'deeplab2-like[tracking]'"
        ) from error
    solver: Callable[..., Any] = optimize.linear_sum_assignment
    return solver


def pair(gains: Mapping[Pair, float]) -> list[Pair]:
    """Pairs rows with columns so that the sum of the gains is largest.

    Each row and each column is in one pair at most. Only pairs that are listed
    are made. The problem is split into its connected parts, which are solved
    one by one (Hungarian method, `scipy.optimize.linear_sum_assignment`), so
    that memory grows with the square of the largest part only.

    Args:
        gains: Gain of each possible pair (row, column), above 0.

    Returns:
        The pairs, ascending. Of several solutions with the same sum always the
        same one.
    """
    pairs: list[Pair] = []
    for part in _split(gains):
        if len(part) == 1:
            pairs += part
        else:
            pairs += _solve(part, gains)
    return sorted(pairs)


def _split(gains: Mapping[Pair, float]) -> list[list[Pair]]:
    """Splits pairs into sets that share neither rows nor columns."""
    parent: dict[Pair, Pair] = {}

    def find(node: Pair) -> Pair:
        root = node
        while (above := parent.setdefault(root, root)) != root:
            root = above
        while parent[node] != root:
            parent[node], node = root, parent[node]
        return root

    ordered = sorted(gains)
    for row, column in ordered:
        first, second = sorted((find((0, row)), find((1, column))))
        parent[second] = first
    parts: dict[Pair, list[Pair]] = {}
    for row, column in ordered:
        parts.setdefault(find((0, row)), []).append((row, column))
    return list(parts.values())


def _solve(part: list[Pair], gains: Mapping[Pair, float]) -> list[Pair]:
    rows = sorted({row for row, _ in part})
    columns = sorted({column for _, column in part})
    row_of = {row: i for i, row in enumerate(rows)}
    column_of = {column: i for i, column in enumerate(columns)}
    matrix: npt.NDArray[np.float64] = np.zeros((len(rows), len(columns)))
    for row, column in part:
        matrix[row_of[row], column_of[column]] = gains[row, column]
    found = zip(*require_solver()(matrix, maximize=True), strict=True)
    return [(rows[i], columns[j]) for i, j in found if matrix[i, j] > 0]
