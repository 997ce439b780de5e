# SPDX-License-Identifier: Apache-2.0
"""Panoptic quality of tubes: of windows of a video (VPQ), of whole volumes.

Kim et al., "Video Panoptic Segmentation", CVPR 2020 (arXiv:2006.11339),
section 4. A window of one frame gives PQ; a whole volume as one window gives
the PQ of its segments in three dimensions.
"""

import collections
import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.metrics import (
    map_segments,
    quality_result,
    segment_matching,
    sequences,
    tube_overlaps,
)
from deeplab2_like.metrics import overlaps as overlaps_lib

WHOLE = 0
"""Window of a whole sequence."""
WINDOWS = (1, 2, 3, 4)
"""Windows of the paper: 0, 5, 10 and 15 frames further, of every 5th frame."""


@dataclasses.dataclass(frozen=True)
class VideoQualityResult:
    """The result of `VideoPanopticQuality`.

    Attributes:
        vpq: Mean of PQ over the windows, 0..1; windows longer than all
            sequences, and whole sequences, are left out; NaN without any.
        per_window: PQ of each window, by its number of frames; `WHOLE` is whole
            sequences.
    """

    vpq: float
    per_window: dict[int, quality_result.PanopticQualityResult]

    def scalars(self) -> dict[str, float]:
        """Returns the main numbers by name, NaN included."""
        values = {"VPQ": self.vpq} if set(self.per_window) - {WHOLE} else {}
        for window, result in self.per_window.items():
            name = "volume_PQ" if window == WHOLE else f"VPQ_{window}"
            values[name] = result.all.pq
        return values


class VideoPanopticQuality(sequences.SequenceMetric):
    """PQ of the tubes in all windows of consecutive frames.

    Tubes are matched and counted as the segments of one image
    (`segment_matching`), with the rules of panopticapi for void and crowd. For
    each frame of a sequence with enough frames behind it there is a window;
    the counts of all windows are added up, by class. Sequences shorter than a
    window have none.
    """

    def __init__(
        self,
        descriptor: DatasetDescriptor,
        windows: Sequence[int] = WINDOWS,
    ):
        """Begins without frames.

        Args:
            descriptor: The data set of the labels, with C classes.
            windows: Numbers of frames; `WHOLE` for whole sequences.

        Raises:
            ConfigError: There is no window, or a number is negative or given
                twice.
        """
        super().__init__()
        if not windows or min(windows) < 0 or len({*windows}) < len(windows):
            raise errors.ConfigError(
                f"The windows {list(windows)} cannot be used. Give one or more "
                "different numbers of frames, 0 for whole sequences."
            )
        self._descriptor = descriptor
        self._finder = map_segments.SegmentFinder(descriptor, "panopticapi")
        self._counts = {
            window: np.zeros((4, descriptor.num_classes)) for window in windows
        }
        self._num_windows = dict.fromkeys(windows, 0)
        self._begin()

    def _begin(self) -> None:
        self._last: collections.deque[overlaps_lib.Overlaps] = (
            collections.deque(maxlen=max(1, *self._counts))
        )
        self._whole = tube_overlaps.OverlapSum()

    def _add_frame(self, name: str, found: overlaps_lib.Overlaps) -> None:
        self._finder.find(name, found)  # Checks the classes.
        self._last.append(found)
        if WHOLE in self._counts:
            self._whole.add(found)
        for window, counts in self._counts.items():
            if window == WHOLE or len(self._last) < window:
                continue
            tubes = found
            if window > 1:
                total = tube_overlaps.OverlapSum()
                for part in list(self._last)[-window:]:
                    total.add(part)
                tubes = total.result()
            counts += self._count(name, tubes)
            self._num_windows[window] += 1

    def _count(
        self, name: str, tubes: overlaps_lib.Overlaps
    ) -> npt.NDArray[np.float64]:
        true, predicted, is_void = self._finder.find(name, tubes)
        return segment_matching.count_matches(
            true, predicted, tubes, self._descriptor.num_classes, is_void
        )

    def _end_sequence(self, sequence: str) -> None:
        if WHOLE in self._counts:
            self._counts[WHOLE] += self._count(sequence, self._whole.result())
            self._num_windows[WHOLE] += 1
        self._begin()

    def result(self) -> VideoQualityResult:
        """Returns the qualities of all frames so far; changes nothing."""
        per_window = {}
        for window, counts in self._counts.items():
            number = self._num_windows[window]
            if window == WHOLE and self._sequence is not None:
                counts = counts + self._count(
                    self._sequence, self._whole.result()
                )
                number += 1
            things = set(self._descriptor.thing_ids)
            per_window[window] = quality_result.summarize(
                counts,
                class_ids=range(self._descriptor.num_classes),
                names=self._descriptor.class_names,
                is_thing=[
                    index in things
                    for index in range(self._descriptor.num_classes)
                ],
                num_images=number,
            )
        values = [
            result.all.pq
            for window, result in per_window.items()
            if window != WHOLE and result.num_images
        ]
        vpq = math.fsum(values) / len(values) if values else math.nan
        return VideoQualityResult(vpq, per_window)
