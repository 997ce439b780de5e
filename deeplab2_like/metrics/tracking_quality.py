# SPDX-License-Identifier: Apache-2.0
"""Segmentation and tracking quality (STQ) of videos.

Weber et al., "STEP: Segmenting and Tracking Every Pixel", NeurIPS 2021
(arXiv:2102.11859), section 4; the metric of KITTI-STEP and MOTChallenge-STEP.
"""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from deeplab2_like.labels import label_map
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.metrics import map_segments, sequences, tube_overlaps
from deeplab2_like.metrics import overlaps as overlaps_lib


@dataclasses.dataclass(frozen=True)
class Quality:
    """The qualities of a sequence, or of all.

    Attributes:
        stq: Root of `aq` * `sq`, 0..1; NaN where one of them is.
        aq: Association quality, 0..1; NaN without a true track.
        sq: Segmentation quality: mean IoU of the classes; NaN without any.
        num_tracks: True tracks.
        num_frames: Frames.
    """

    stq: float
    aq: float
    sq: float
    num_tracks: int
    num_frames: int


@dataclasses.dataclass(frozen=True)
class TrackingQualityResult:
    """The result of `TrackingQuality`.

    Attributes:
        all: All sequences: AQ is the mean over all their tracks, SQ that over
            the classes of all their pixels.
        per_sequence: Each sequence alone, by its name.
        class_ious: IoU of each class, NaN where it does not occur.
        warnings: Sentences about what has no value.
    """

    all: Quality
    per_sequence: dict[str, Quality]
    class_ious: tuple[float, ...]
    warnings: tuple[str, ...] = ()

    def scalars(self) -> dict[str, float]:
        """Returns the main numbers by name, NaN included."""
        return {"STQ": self.all.stq, "AQ": self.all.aq, "SQ": self.all.sq}


@dataclasses.dataclass(frozen=True)
class _Sums:
    """What is summed up of a sequence.

    Attributes:
        association: Sum of the association of the true tracks.
        num_tracks: Their number.
        num_frames: Frames.
        areas: int64 [3, C], pixels of each class: shared, true, predicted.
    """

    association: float
    num_tracks: int
    num_frames: int
    areas: npt.NDArray[np.int64]


class TrackingQuality(sequences.SequenceMetric):
    """STQ of label maps (class * label_divisor + instance).

        quality = TrackingQuality(descriptor)
        for true, predicted in frames:
            quality.update(true, predicted, sequence="0002")
        print(quality.result().all.stq)

    AQ is the mean over the true tracks g (things, in all frames of a sequence)
    of 1 / |g| * sum over predicted tracks p of |p and g| * IoU(p, g), SQ the
    mean IoU of the classes, STQ = sqrt(AQ * SQ).

    Rules, as in deeplab2's `SegmentationAndTrackingQuality`: a track is all
    pixels of one label (class and instance) in a sequence. A thing class with
    instance 0 is crowd in the ground truth: its pixels count in no track.
    Pixels whose true class is `ignore_label` count in no IoU of a class; in the
    area of predicted tracks they do.

    Difference: pixels that are predicted void are missed and nothing else. In
    deeplab2 they are a further class of IoU 0, where ignore_label is none of
    the classes.
    """

    def __init__(self, descriptor: DatasetDescriptor):
        """Begins without frames.

        Args:
            descriptor: The data set of the labels, with C classes.
        """
        super().__init__()
        self._segments = map_segments.SegmentFinder(descriptor, "panopticapi")
        self._num_classes = descriptor.num_classes
        self._is_thing = np.zeros(self._num_classes + 1, bool)
        self._is_thing[list(descriptor.thing_ids)] = True
        self._done: dict[str, _Sums] = {}
        self._begin()

    def _begin(self) -> None:
        self._tubes = tube_overlaps.OverlapSum()
        self._frames = 0

    def _add_frame(self, name: str, found: overlaps_lib.Overlaps) -> None:
        self._segments.find(name, found)  # Checks the classes.
        self._tubes.add(found)
        self._frames += 1

    def _end_sequence(self, sequence: str) -> None:
        self._done[sequence] = self._sum_up()
        self._begin()

    def _sum_up(self) -> _Sums:
        found = self._tubes.result()
        true, predicted, _ = self._segments.find("", found)
        t, p = found.true_index, found.predicted_index
        # Void is -1, the last entry of `_is_thing`, which is no thing.
        is_crowd = true.is_crowd[t]
        is_track = self._is_thing[true.classes[t]] & ~is_crowd
        is_found = self._is_thing[predicted.classes[p]] & ~is_crowd
        count, num_found = len(found.true_ids), len(found.predicted_ids)
        true_areas = label_map.sum_at(t, found.areas * is_track, count)
        areas = label_map.sum_at(p, found.areas * is_found, num_found)
        is_pair = is_track & is_found
        t, p, shared = t[is_pair], p[is_pair], found.areas[is_pair]
        iou = shared / (true_areas[t] + areas[p] - shared)
        gains = np.bincount(t, shared * iou, minlength=count)
        tracks = true_areas > 0
        return _Sums(
            math.fsum(gains[tracks] / true_areas[tracks]),
            int(tracks.sum()),
            self._frames,
            self._count_classes(true.classes, predicted.classes, found),
        )

    def _count_classes(
        self,
        true_classes: npt.NDArray[np.int64],
        predicted_classes: npt.NDArray[np.int64],
        found: overlaps_lib.Overlaps,
    ) -> npt.NDArray[np.int64]:
        """Returns int64 [3, C]: shared, true and predicted pixels."""
        true = true_classes[found.true_index]
        predicted = predicted_classes[found.predicted_index]
        is_labeled = true >= 0
        is_right = is_labeled & (true == predicted)
        is_other = is_labeled & (predicted >= 0)
        size = self._num_classes
        return np.stack(
            [
                label_map.sum_at(classes[rows], found.areas[rows], size)
                for classes, rows in (
                    (true, is_right),
                    (true, is_labeled),
                    (predicted, is_other),
                )
            ]
        )

    def result(self) -> TrackingQualityResult:
        """Returns the qualities of all frames so far; changes nothing."""
        done = dict(self._done)
        if self._sequence is not None:
            done[self._sequence] = self._sum_up()
        empty = np.zeros((3, self._num_classes), np.int64)
        every = _Sums(
            math.fsum(sums.association for sums in done.values()),
            sum(sums.num_tracks for sums in done.values()),
            sum(sums.num_frames for sums in done.values()),
            sum((sums.areas for sums in done.values()), empty),
        )
        total = _summarize(every)
        return TrackingQualityResult(
            total,
            {name: _summarize(sums) for name, sums in done.items()},
            tuple(_compute_ious(every.areas).tolist()),
            tuple(_describe_gaps(total)),
        )


def _compute_ious(
    areas_3c: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    shared, true, predicted = areas_3c
    union = true + predicted - shared
    ious = np.full(len(union), math.nan)
    ious[union > 0] = shared[union > 0] / union[union > 0]
    return ious


def _summarize(sums: _Sums) -> Quality:
    ious = _compute_ious(sums.areas)
    known = ious[~np.isnan(ious)]
    sq = math.fsum(known) / len(known) if len(known) else math.nan
    aq = sums.association / sums.num_tracks if sums.num_tracks else math.nan
    return Quality(math.sqrt(aq * sq), aq, sq, sums.num_tracks, sums.num_frames)


def _describe_gaps(quality: Quality) -> Iterator[str]:
    if not quality.num_tracks:
        yield (
            "The ground truth has no track of a thing: AQ and STQ are not "
            "defined (NaN)."
        )
