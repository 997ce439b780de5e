# SPDX-License-Identifier: Apache-2.0
import itertools
import subprocess
import sys

import numpy as np
import pytest

from deeplab2_like.tracking import assignment

pytest.importorskip("scipy", reason="SciPy is not installed (extra tracking)")


def _find_best_sum(gains, size):
    """The largest sum over all permutations."""
    return max(
        sum(gains.get((row, column), 0.0) for row, column in enumerate(order))
        for order in itertools.permutations(range(size))
    )


def test_the_sum_is_the_largest_of_all_pairings():
    rng = np.random.default_rng(0)
    for _ in range(40):
        size = int(rng.integers(1, 6))
        gains = {
            (row, column): float(rng.random()) + 0.01
            for row in range(size)
            for column in range(size)
            if rng.random() < 0.5
        }
        pairs = assignment.pair(gains)
        assert all(pair in gains for pair in pairs)
        assert pairs == sorted(pairs)
        assert len({row for row, _ in pairs}) == len(pairs)
        assert len({column for _, column in pairs}) == len(pairs)
        total = sum(gains[pair] for pair in pairs)
        assert total == pytest.approx(_find_best_sum(gains, size))


def test_the_order_of_the_pairs_changes_nothing():
    gains = {(0, 0): 0.5, (0, 1): 0.5, (1, 0): 0.5, (1, 1): 0.5, (7, 9): 0.1}
    other = dict(reversed(gains.items()))
    assert assignment.pair(gains) == assignment.pair(other)
    assert assignment.pair(gains)[-1] == (7, 9)
    assert assignment.pair({}) == []


def test_many_parts_need_no_matrix_of_all():
    count = 20_000
    gains = {(i, i + d): 1.0 - d for i in range(0, count, 2) for d in (0, 0.5)}
    gains = {(row, int(column)): g for (row, column), g in gains.items()}
    assert len(assignment.pair(gains)) == count // 2


def test_without_scipy_the_error_says_what_to_install():
    code = (
        "import sys\n"
        "sys.modules['scipy'] = None\n"
        "from deeplab2_like import errors\n"
        "from deeplab2_like.tracking import linking\n"
        "try:\n"
        "    linking.Linker()\n"
        "except errors.InstallError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pip install 'deeplab2-like[tracking]'" in done.stdout
