# SPDX-License-Identifier: Apache-2.0
"""Objects of a large image that tiles split, and where tiles meet."""

import numpy as np

from deeplab2_like.large_images import tiling as tiling_lib
from deeplab2_like.metrics import overlaps

# Of labels of mosaics, which have many instances.
DIVISOR = 1 << 20
# Pixels of the smallest objects that count.
_SMALLEST = 20


def find_lines(
    tiling: tiling_lib.Tiling, size: tuple[int, int], head_stride: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Returns which rows and columns lie where tiles meet: bool [H], [W].

    Args:
        tiling: Tiles of the image, at the scale that the network sees.
        size: (H, W) of the image.
        head_stride: Pixels between positions of the heads.
    """
    found = []
    for axis, length in zip((tiling.rows, tiling.columns), size, strict=True):
        is_line = np.zeros(axis.length, bool)
        for index, start in enumerate(axis.starts):
            weights = axis.weigh(index, head_stride)
            used = np.flatnonzero(weights) * head_stride + start
            last = used[-1] if index + 1 < len(axis.starts) else 0
            for place in (used[0], last, axis.find_own(index)[0]):
                if place > 0:
                    is_line[max(place - 2, 0) : place + 2] = True
        scale = (axis.length - 1) / max(length - 1, 1)
        found.append(is_line[np.rint(np.arange(length) * scale).astype(int)])
    return found[0], found[1]


def count_cut(
    whole: np.ndarray,
    tiled: np.ndarray,
    lines: tuple[np.ndarray, np.ndarray],
) -> tuple[int, int]:
    """Counts the objects of the whole that are several in tiles.

    Args:
        whole: Integers [H, W], class * DIVISOR + instance.
        tiled: The same of tiles.
        lines: Result of `find_lines`.

    Returns:
        How many are split, and how many of them are cut by a seam.
    """
    found = overlaps.compute_overlaps(whole, tiled)
    areas = found.true_areas[found.true_index]
    is_part = (
        (found.true_ids[found.true_index] % DIVISOR > 0)
        & (found.predicted_ids[found.predicted_index] % DIVISOR > 0)
        & (areas >= _SMALLEST)
        & (10 * found.areas >= areas)
    )
    known, parts = np.unique(found.true_index[is_part], return_counts=True)
    split = found.true_ids[known[parts > 1]]
    borders = np.zeros((2, len(found.true_ids)), np.int64)
    for axis, is_line in enumerate(lines):
        some, others = (
            [np.delete(values, end, axis) for values in (whole, tiled)]
            for end in (0, -1)
        )
        is_border = (some[0] == others[0]) & (some[1] != others[1])
        is_border &= (some[1] % DIVISOR > 0) & (others[1] % DIVISOR > 0)
        place = np.searchsorted(found.true_ids, some[0][is_border])
        on_line = is_line[1:][np.nonzero(is_border)[axis]]
        np.add.at(borders[0], place, 1)
        np.add.at(borders[1], place[on_line], 1)
    total, on_lines = borders[:, np.searchsorted(found.true_ids, split)]
    return len(split), int(np.sum((total > 0) & (2 * on_lines >= total)))
