# SPDX-License-Identifier: Apache-2.0
"""Random boxes, with degenerate ones among them."""

import numpy as np
import pytest


def make_boxes(rng, number, side=32):
    """Makes boxes on a coarse grid, so that overlaps and sides often tie."""
    step = rng.choice([1.0, 4.0, 0.25])
    ends = np.sort(
        rng.integers(0, int(side / step) + 1, (number, 2, 2)), axis=2
    )
    boxes = np.concatenate([ends[:, :, 0], ends[:, :, 1]], axis=1) * step
    if number and rng.random() < 0.3:
        boxes[rng.integers(number)] = 0.0  # without area
    if number and rng.random() < 0.3:
        boxes[rng.integers(number)] = [0, 0, side, side]  # all of the image
    if number > 1 and rng.random() < 0.3:
        boxes[-1] = boxes[0]
    return boxes.astype(np.float32)


def compute_overlap(a, b):
    """Computes intersections over unions, float32 [N, M], of N and M boxes."""
    a, b = a[:, None], b[None]
    sides = np.minimum(a[..., 2:], b[..., 2:])
    sides = np.maximum(sides - np.maximum(a[..., :2], b[..., :2]), 0)
    areas = [
        np.maximum(x[..., 2:] - x[..., :2], 0).prod(axis=-1) for x in (a, b)
    ]
    shared = sides.prod(axis=-1)
    union = areas[0] + areas[1] - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1), 0)


@pytest.fixture(scope="session")
def random_boxes():
    """Returns the function that makes random boxes."""
    return make_boxes


@pytest.fixture(scope="session")
def overlap_of():
    """Returns the function that computes overlaps."""
    return compute_overlap
