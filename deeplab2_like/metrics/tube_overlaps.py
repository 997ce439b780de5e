# SPDX-License-Identifier: Apache-2.0
"""Pixels that the tubes of two videos share: sums of the overlaps of frames.

A tube is all pixels of one id in several frames, so what tubes share is the sum
of what their segments share in each frame.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from deeplab2_like.labels import label_map
from deeplab2_like.metrics import overlaps as overlaps_lib

# Pairs that are kept before they are summed up.
_MIN_BUFFER = 1 << 14


class OverlapSum:
    """A sum of overlaps; memory grows with the pairs, not with the frames."""

    def __init__(self) -> None:
        """Begins without frames."""
        self._parts: list[npt.NDArray[np.int64]] = []
        self._size = 0
        self._limit = _MIN_BUFFER

    def add(self, found: overlaps_lib.Overlaps) -> None:
        """Adds the overlaps of a frame.

        Args:
            found: Those of its true and its predicted map, whose ids are the
                same in all frames.
        """
        self._parts.append(_list_pairs(found))
        self._size += len(found.areas)
        if self._size > self._limit:
            found = self.result()
            self._parts, self._size = [_list_pairs(found)], len(found.areas)
            self._limit = max(_MIN_BUFFER, 2 * self._size)

    def result(self) -> overlaps_lib.Overlaps:
        """Returns the sum so far, ordered as those of `compute_overlaps`."""
        if not self._parts:
            empty = np.zeros(0, np.int64)
            return overlaps_lib.Overlaps(empty, empty, empty, empty, empty)
        true, predicted, areas = np.concatenate(self._parts, axis=1)
        true_ids, true_index = np.unique(true, return_inverse=True)
        predicted_ids, predicted_index = np.unique(
            predicted, return_inverse=True
        )
        width = len(predicted_ids)
        pairs, index = np.unique(
            true_index.astype(np.int64) * width + predicted_index,
            return_inverse=True,
        )
        return overlaps_lib.Overlaps(
            true_ids,
            predicted_ids,
            pairs // width,
            pairs % width,
            label_map.sum_at(index, areas, len(pairs)),
        )


def rename(
    found: overlaps_lib.Overlaps,
    true_names: npt.NDArray[np.int64],
    predicted_names: npt.NDArray[np.int64],
) -> overlaps_lib.Overlaps:
    """Returns the overlaps of other ids, of which several may be one.

    Args:
        found: Overlaps of N true and M predicted ids.
        true_names: int64 [N], the new id of each of `found.true_ids`.
        predicted_names: int64 [M], the same of `found.predicted_ids`.
    """
    renamed = OverlapSum()
    renamed.add(
        dataclasses.replace(
            found, true_ids=true_names, predicted_ids=predicted_names
        )
    )
    return renamed.result()


def _list_pairs(found: overlaps_lib.Overlaps) -> npt.NDArray[np.int64]:
    """Returns int64 [3, P]: true id, predicted id and area of each pair."""
    return np.stack(
        [
            found.true_ids[found.true_index],
            found.predicted_ids[found.predicted_index],
            found.areas,
        ]
    )
