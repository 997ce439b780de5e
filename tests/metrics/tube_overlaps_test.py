# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np

from deeplab2_like.metrics import overlaps, tube_overlaps


def test_sums_are_the_overlaps_of_frames_side_by_side(monkeypatch):
    monkeypatch.setattr(tube_overlaps, "_MIN_BUFFER", 8)
    rng = np.random.default_rng(0)
    big = 255 << 32
    frames = (
        rng.integers(0, 5, (7, 2, 6, 5)) + np.array([0, big])[:, None, None]
    )
    total = tube_overlaps.OverlapSum()
    total._limit = 8
    for true, predicted in frames:
        total.add(overlaps.compute_overlaps(true, predicted))
    expected = overlaps.compute_overlaps(
        *np.concatenate(frames.transpose(0, 1, 2, 3), 1)
    )
    for name, value in dataclasses.asdict(expected).items():
        np.testing.assert_array_equal(getattr(total.result(), name), value)


def test_a_sum_of_nothing_is_empty():
    assert len(tube_overlaps.OverlapSum().result().areas) == 0
