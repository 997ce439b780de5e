# SPDX-License-Identifier: Apache-2.0
"""Finds images that occur twice: equal ones, and nearly equal ones.

Nearly equal are images whose difference hashes (`facts`) differ in at most
`NEAR_BITS` of 64 bits. Hashes are compared where one of their four quarters is
equal: of four quarters three different bits leave one untouched, so that every
such pair is found.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

NEAR_BITS = 3
_QUARTER_BITS = 16
# Images of one quarter that are compared with each other; of more than that
# only neighbors in the order of the hashes are.
_MAX_COMPARED = 1024
_FAR = 65
_BITS_OF_BYTE = np.unpackbits(
    np.arange(256, dtype=np.uint8)[:, None], axis=1
).sum(1, dtype=np.uint8)


@dataclasses.dataclass(frozen=True)
class Twins:
    """Pairs of images, as indices.

    Attributes:
        within: int64 [N, 2], for each image that has an earlier twin in its
            split: the twin and the image.
        between: int64 [N, 2], for each image that has a twin in another
            split with a smaller number: the twin and the image.
    """

    within: npt.NDArray[np.int64]
    between: npt.NDArray[np.int64]


def find_equal(
    digests: npt.NDArray[np.uint64], splits: npt.NDArray[np.uint8]
) -> Twins:
    """Finds equal images.

    Args:
        digests: uint64 [N], checksum of each image.
        splits: uint8 [N], number of its split.
    """
    twins = _Finder(splits)
    for rows in _group(digests):
        if len(rows) > 1:
            distance = np.zeros((len(rows), len(rows)), np.uint8)
            if len(rows) <= _MAX_COMPARED:
                twins.add(rows, rows, distance)
                continue
            # Many equal images: the first of each split stands for the others.
            first = np.unique(splits[rows], return_index=True)[1]
            chosen = rows[first]
            twins.add(rows, chosen, np.zeros((len(rows), len(chosen)), "u1"))
    return twins.finish()


def find_near(
    hashes: npt.NDArray[np.uint64],
    splits: npt.NDArray[np.uint8],
    is_hashed: npt.NDArray[np.bool_],
) -> Twins:
    """Finds images that look nearly equal.

    Args:
        hashes: uint64 [N], difference hash of each image.
        splits: uint8 [N], number of its split.
        is_hashed: bool [N], whether it has one.
    """
    twins = _Finder(splits)
    kept = np.flatnonzero(is_hashed)
    for quarter in range(64 // _QUARTER_BITS):
        shift = np.uint64(quarter * _QUARTER_BITS)
        keys = (hashes[kept] >> shift) & np.uint64(2**_QUARTER_BITS - 1)
        for places in _group(keys):
            rows = kept[places]
            if len(rows) > _MAX_COMPARED:
                rows = rows[np.argsort(hashes[rows], kind="stable")]
            for start in range(0, len(rows), _MAX_COMPARED):
                part = rows[start : start + _MAX_COMPARED]
                if len(part) > 1:
                    twins.add(part, part, _count_bits(hashes[part]))
    return twins.finish()


def _group(keys: npt.NDArray[np.uint64]) -> Iterator[npt.NDArray[np.int64]]:
    """Yields the places of equal keys that occur more than once."""
    order = np.argsort(keys, kind="stable")
    changes = np.flatnonzero(np.diff(keys[order])) + 1
    bounds = np.concatenate([[0], changes, [len(keys)]])
    for index in np.flatnonzero(np.diff(bounds) > 1):
        yield order[bounds[index] : bounds[index + 1]]


def _count_bits(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """Counts the bits in which hashes differ: uint8 [N, N]."""
    differing = hashes[:, None] ^ hashes[None]
    octets = differing.view(np.uint8).reshape(*differing.shape, 8)
    return _BITS_OF_BYTE[octets].sum(-1, dtype=np.uint8)


class _Finder:
    """Keeps the nearest twin of each image."""

    def __init__(self, splits: npt.NDArray[np.uint8]):
        """Begins without twins.

        Args:
            splits: uint8 [N], number of the split of each image.
        """
        self._splits = splits
        count = len(splits)
        self._within = np.full(count, -1, np.int64)
        self._between = np.full(count, -1, np.int64)
        self._distance_within = np.full(count, _FAR, np.uint8)
        self._distance_between = np.full(count, _FAR, np.uint8)

    def add(
        self,
        rows: npt.NDArray[np.int64],
        others: npt.NDArray[np.int64],
        distances: npt.NDArray[np.uint8],
    ) -> None:
        """Adds images that may be twins.

        Args:
            rows: int64 [N], images.
            others: int64 [M], images that may be their twins.
            distances: uint8 [N, M], bits in which they differ.
        """
        split, other_split = self._splits[rows], self._splits[others]
        is_earlier = (split[:, None] == other_split[None]) & (
            others[None] < rows[:, None]
        )
        is_other = split[:, None] > other_split[None]
        for is_meant, twin, nearest in (
            (is_earlier, self._within, self._distance_within),
            (is_other, self._between, self._distance_between),
        ):
            found = np.where(
                is_meant & (distances <= NEAR_BITS), distances, _FAR
            )
            place = found.argmin(1)
            least = found[np.arange(len(rows)), place]
            is_nearer = least < nearest[rows]
            twin[rows[is_nearer]] = others[place[is_nearer]]
            nearest[rows[is_nearer]] = least[is_nearer]

    def finish(self) -> Twins:
        """Returns the pairs, in the order of the images."""
        pairs = []
        for twin in (self._within, self._between):
            rows = np.flatnonzero(twin >= 0)
            pairs.append(np.stack([twin[rows], rows], axis=1))
        return Twins(*pairs)
