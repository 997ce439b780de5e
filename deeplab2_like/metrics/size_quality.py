# SPDX-License-Identifier: Apache-2.0
"""Panoptic quality of things by their size.

The paper defines PQ over all sizes. Here a true thing, matched or missed,
counts in the range of its true area, and a predicted thing without a match in
the range of its predicted area. The areas are counted in narrow intervals, so
that the state does not grow with the images and the ranges may be chosen when
all have been seen.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.metrics import (
    image_counts,
    map_segments,
    overlaps,
    quality_result,
    segment_matching,
)

# Areas in pixels that separate COCO's small, medium and large objects. COCO
# counts an object of exactly such an area on both sides, this module as larger.
COCO_LIMITS = (32**2, 96**2)
# Lower ends of the intervals: four an octave, and COCO's limits.
_EDGES = np.unique(
    [0, *np.rint(2.0 ** (np.arange(4 * 32) / 4)).astype(np.int64), *COCO_LIMITS]
).astype(np.int64)


@dataclasses.dataclass(frozen=True)
class SizeRange:
    """The quality of the things whose area is in a range.

    Attributes:
        lowest: Smallest area, in pixels.
        below: The area from which on things are larger; None without end.
        quality: Means over the thing classes, and each of them; classes
            without things in the range are NaN.
    """

    lowest: int
    below: int | None
    quality: quality_result.PanopticQualityResult


class SizeQuality(image_counts.ImageCounts):
    """PQ of the things of label maps, by ranges of their areas.

    truth = np.array([[0, 0, 1001, 1002]])  # sky, sky and two cars
    sizes = SizeQuality(descriptor.make(["sky"], ["car"]))
    sizes.update(truth, truth)
    small, medium, large = sizes.result(COCO_LIMITS)
    """

    def __init__(
        self, descriptor: DatasetDescriptor, *, variant: str = "panopticapi"
    ):
        """Creates an accumulator without images.

        Args:
            descriptor: The data set of the labels.
            variant: Rules of the matching; see `PanopticQuality`.

        Raises:
            ConfigError: The variant does not exist.
        """
        self._segments = map_segments.SegmentFinder(descriptor, variant)
        self._thing_ids = descriptor.thing_ids
        self._names = [descriptor.class_names[c] for c in self._thing_ids]
        self._row_of = np.full(descriptor.num_classes + 1, -1)
        self._row_of[list(self._thing_ids)] = np.arange(len(self._thing_ids))
        super().__init__(np.zeros((4, len(self._thing_ids), len(_EDGES))))

    def merge(self, other: "SizeQuality") -> None:
        """Adds the images of another accumulator of the same data set.

        Raises:
            ConfigError: The other one has other classes.
        """
        if other._thing_ids != self._thing_ids:
            raise errors.ConfigError(
                f"Sizes of the classes {other._thing_ids} cannot be merged "
                f"into those of {self._thing_ids}. Create both from the same "
                "descriptor."
            )
        self._counts += other._counts
        self._num_images += other._num_images

    def result(self, limits: Sequence[int]) -> list[SizeRange]:
        """Returns the qualities of all images so far by size.

        Args:
            limits: N areas, ascending: `COCO_LIMITS` or a result of
                `find_thirds`.

        Returns:
            N + 1 ranges: below the first limit, from each on to the next, from
            the last on.

        Raises:
            ConfigError: A limit is neither of those.
        """
        wrong = [limit for limit in limits if limit not in _EDGES]
        if wrong or list(limits) != sorted(set(limits)):
            raise errors.ConfigError(
                f"The limits of sizes are {list(limits)}. They must ascend, "
                "and be those of COCO or of `find_thirds`."
            )
        places = np.searchsorted(_EDGES, [0, *limits]).tolist()
        ends = [*places[1:], len(_EDGES)]
        return [
            SizeRange(
                lowest=low,
                below=below,
                quality=quality_result.summarize(
                    self._counts[:, :, start:end].sum(2),
                    class_ids=self._thing_ids,
                    names=self._names,
                    is_thing=[True] * len(self._thing_ids),
                    num_images=self._num_images,
                ),
            )
            for low, below, start, end in zip(
                [0, *limits], [*limits, None], places, ends, strict=True
            )
        ]

    def find_thirds(self) -> tuple[int, int] | None:
        """Finds two limits between which lie about a third of the true things.

        Returns:
            Two areas in pixels; None if there are no such limits, because
            there are too few true things or all are of about one size.
        """
        true = (self._counts[1] + self._counts[3]).sum(0)
        before = np.concatenate([[0.0], np.cumsum(true)[:-1]])
        total = true.sum()
        first, second = (
            int(np.abs(before - total * share).argmin())
            for share in (1 / 3, 2 / 3)
        )
        parts = before[[first, second]]
        if not 0 < parts[0] < parts[1] < total:
            return None
        return int(_EDGES[first]), int(_EDGES[second])

    def _add_image(self, name: str, found: overlaps.Overlaps) -> None:
        true, predicted, is_void = self._segments.find(name, found)
        matches = segment_matching.find_matches(true, predicted, found, is_void)
        matched = matches.true_index
        self._add(0, true, matched, matches.iou)
        self._add(1, true, matched)
        self._add(2, predicted, np.flatnonzero(matches.is_false))
        self._add(3, true, np.flatnonzero(matches.is_missed))

    def _add(
        self,
        kind: int,
        segments: segment_matching.Segments,
        index: npt.NDArray[np.int64],
        values: npt.NDArray[np.float64] | float = 1.0,
    ) -> None:
        """Adds values of some of the segments, those of stuff left out."""
        rows = self._row_of[segments.classes[index]]
        areas = segments.areas[index]
        places = np.searchsorted(_EDGES, areas, side="right") - 1
        is_thing = rows >= 0
        values = np.broadcast_to(values, rows.shape)
        np.add.at(
            self._counts[kind],
            (rows[is_thing], places[is_thing]),
            values[is_thing],
        )
