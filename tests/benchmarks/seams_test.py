# SPDX-License-Identifier: Apache-2.0
import numpy as np

from benchmarks import seams
from deeplab2_like.large_images import tiling


def test_objects_that_are_cut_are_counted():
    divisor = seams.DIVISOR
    whole = np.full((10, 20), 5 * divisor)
    whole[:, 5:15] = 6 * divisor + 1
    lines = np.zeros(10, bool), np.arange(20) == 14
    tiled = whole.copy()
    assert seams.count_cut(whole, tiled, lines) == (0, 0)
    tiled[:, 14:15] = 6 * divisor + 2
    assert seams.count_cut(whole, tiled, lines) == (1, 1)
    tiled[:, 13:15] = 6 * divisor + 2
    assert seams.count_cut(whole, tiled, lines) == (1, 0)
    tiled[:, 13:14] = tiled[1:, 14:15] = 5 * divisor  # Less than a tenth.
    assert seams.count_cut(whole, tiled, lines) == (0, 0)


def test_lines_are_where_tiles_meet():
    made = tiling.make_tiling((65, 113), 65, 16, 16)
    rows, columns = seams.find_lines(made, (65, 113))
    assert not rows.any()
    # Weights begin at 52 and end at 60; the middle is 56.
    assert np.flatnonzero(columns).tolist() == [*range(50, 62)]
    # Of an image that the network sees twice as large.
    _, columns = seams.find_lines(made, (33, 57))
    assert np.flatnonzero(columns).tolist() == [*range(25, 31)]
