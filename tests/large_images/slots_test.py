# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest

from deeplab2_like.large_images import slots


def _count_slowly(slot, category, units, top):
    """Returns a row for each pair, pixel by pixel."""
    rows = {}
    for (y, x), number in np.ndenumerate(slot):
        if not number:
            continue
        row = rows.setdefault(
            (int(number), int(category[y, x])), [0, 0, [], []]
        )
        row[0] += 1
        row[1] += int(units[y, x])
        row[2].append(y + top)
        row[3].append(x)
    return [
        (*key, n, u, min(y), min(x), max(y) + 1, max(x) + 1)
        for key, (n, u, y, x) in sorted(rows.items())
    ]


@pytest.mark.parametrize("seed", range(3))
def test_tables_of_bands_add_up_to_that_of_the_whole(seed):
    rng = np.random.default_rng(seed)
    slot = np.repeat(rng.integers(0, 5, (9, 4)), 3, axis=1)
    category = np.repeat(rng.integers(0, 3, (9, 6)), 2, axis=1)
    units = rng.integers(0, 1 << 15, (9, 12))
    tables = [
        slots.tabulate(
            slot[top : top + 4],
            category[top : top + 4],
            units[top : top + 4],
            top + 100,
            3,
        )
        for top in (0, 4, 8)
    ]
    whole = slots.add_up(tables, 3)
    names = [field.name for field in dataclasses.fields(slots.Table)]
    assert names == list(whole.as_dict())
    rows = list(zip(*whole.as_dict().values(), strict=True))
    assert rows == _count_slowly(slot, category, units, 100)


def test_nothing_adds_up_to_an_empty_table():
    none = np.zeros((2, 3), int)
    table = slots.tabulate(none, none, none, 0, 4)
    assert len(slots.add_up([table, table], 4).slot) == 0
    assert len(slots.add_up([], 4).count) == 0
