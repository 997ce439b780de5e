# SPDX-License-Identifier: Apache-2.0
"""Links the segments of consecutive frames to tracks.

    linker = Linker()
    for result in results:
        tracks = linker.add_result(result)  # Track of each segment, by its id.

Frames may be slices of a volume. Linking is deterministic and looks at no later
frame, so that linking a video again from its start gives the same ids. In
memory are one frame and the mask of each living track.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like.labels import label_map
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.tracking import assignment, moved_masks
from deeplab2_like.tracking import frame_segments as segments_lib
from deeplab2_like.tracking.frame_segments import FrameSegments, Segment
from deeplab2_like.tracking.moved_masks import Shape
from deeplab2_like.tracking.options import LinkOptions

__all__ = ["Linker", "Segment", "apply"]

# An object may be so many roots of its area from where it is expected.
_REACH = 1.5
# A segment is partly hidden when the one before had more than so many times
# its area.
_HIDDEN = 2


@dataclasses.dataclass(eq=False)
class _Track:
    """An object that was seen in the last frames.

    Attributes:
        number: Id of the track.
        category: Number of its class.
        shape: Its last segment.
        frame: Frame of that.
        whole: Its last segment that was not partly hidden.
        whole_frame: Frame of that.
        velocity: Rows and columns a frame by which the centers of the last two
            of these moved.
    """

    number: int
    category: int
    shape: Shape
    frame: int
    whole: Shape
    whole_frame: int
    velocity: tuple[float, float] = (0.0, 0.0)


class Linker:
    """Gives the segments of consecutive frames ids that stay.

    An object continues a track of its class, and each track goes on by one
    segment at most. The pairs are made in four rounds; in each, those with the
    largest sum of IoU (`assignment.pair`) among tracks and segments that are
    left over from the rounds before:

    1. tracks of the frame before, by the IoU of their last mask with the
       segment, `min_iou` or more. With `uses_motion` the mask is also moved by
       the motion of its track, and the best of the places counts.
    2. tracks that were missed in 1 to `max_gap` frames, by the same.
    3. with `uses_motion`, all tracks, by shape: the masks with their centers
       laid upon each other have an IoU of `min_shape_iou` or more, and the
       center of the segment is not further from the expected center of the
       track than 1.5 times the root of the larger area, for each frame.
    4. all tracks, by the part of the smaller mask that both share, `min_cover`
       or more, in place of the IoU: objects that appear from behind others, or
       whose slices become larger.

    The motion of a track is the difference of the centers of its last two
    segments, a frame; 0 after the first. A segment with less than half of the
    area of the one before is taken for partly hidden, in up to `max_gap`
    frames and with `uses_motion`: the motion remains, and the larger mask is
    compared too.

    Segments without a track begin one. Tracks are numbered from 1 in the order
    of their beginning, those of one frame by their first pixels, from the upper
    left. So ids depend on the forms and classes of segments only, not on the
    ids and the order that they have.
    """

    def __init__(self, options: LinkOptions | None = None):
        """Begins without frames.

        Args:
            options: The rules; the defaults when None.

        Raises:
            InstallError: SciPy is not installed.
        """
        assignment.require_solver()
        self._options = options or LinkOptions()
        self._frame = -1
        self._count = 0
        self._tracks: list[_Track] = []
        self._whole: dict[int, int] = {}

    @property
    def num_tracks(self) -> int:
        """Number of tracks so far."""
        return self._count

    def skip(self) -> None:
        """Passes over a frame that cannot be read; all objects miss it."""
        self._frame += 1

    def add_result(self, result: PanopticResult) -> dict[int, int]:
        """Adds the result of a frame; see `add`."""
        segments = [
            Segment(
                info["id"],
                info["label_id"],
                info["isthing"] and not info["iscrowd"],
            )
            for info in result.segments_info
        ]
        return self.add(result.segmentation, segments)

    def add(
        self, ids_hw: npt.NDArray[Any], segments: Sequence[Segment]
    ) -> dict[int, int]:
        """Adds a frame.

        Args:
            ids_hw: Integers [H, W], ids of the segments; others are no
                segment.
            segments: The segments, each id once. Frames may differ in size;
                places count from the upper left corner.

        Returns:
            Id of the track of each segment, by its id; segments without a
            pixel are left out.
        """
        self._frame += 1
        oldest = self._frame - 1 - self._options.max_gap
        self._tracks = [t for t in self._tracks if t.frame >= oldest]
        frame = segments_lib.find_segments(ids_hw, segments)
        taken = self._match(frame)
        found: dict[int, int] = {}
        for row, (segment, shape) in enumerate(
            zip(frame.segments, frame.shapes, strict=True)
        ):
            if not segment.is_object:
                found[segment.id] = self._number_class(segment.category)
            elif row in taken:
                found[segment.id] = self._continue(taken[row], shape)
            else:
                found[segment.id] = self._begin(segment, shape)
        return found

    def _match(self, frame: FrameSegments) -> dict[int, _Track]:
        """Returns the track that each segment continues, by its row."""
        recent = [t for t in self._tracks if t.frame == self._frame - 1]
        lost = [t for t in self._tracks if t.frame < self._frame - 1]
        rounds = [(recent, self._compare_places), (lost, self._compare_places)]
        if self._options.uses_motion:
            rounds.append((self._tracks, self._compare_shapes))
        rounds.append((self._tracks, self._compare_covers))
        taken: dict[int, _Track] = {}
        used: set[int] = set()
        for tracks, compare in rounds:
            by_number = {t.number: t for t in tracks if t.number not in used}
            free = frame.list_free(taken)
            gains: dict[assignment.Pair, float] = {}
            for number, track in by_number.items():
                rows = free.get(track.category)
                if rows is None:
                    continue
                for row, iou in compare(track, frame, rows).items():
                    gains[number, row] = iou
            for number, row in assignment.pair(gains):
                taken[row] = by_number[number]
                used.add(number)
        return taken

    def _compare_places(
        self, track: _Track, frame: FrameSegments, rows: npt.NDArray[np.int64]
    ) -> dict[int, float]:
        """Returns the IoU of rows with the last mask of a track, if enough."""
        return self._compare(track, frame, rows, covers=False)

    def _compare_covers(
        self, track: _Track, frame: FrameSegments, rows: npt.NDArray[np.int64]
    ) -> dict[int, float]:
        """Returns how much of the smaller mask is shared, if enough."""
        return self._compare(track, frame, rows, covers=True)

    def _compare(
        self,
        track: _Track,
        frame: FrameSegments,
        rows: npt.NDArray[np.int64],
        *,
        covers: bool,
    ) -> dict[int, float]:
        places = [(track.shape, (0, 0))]
        if self._options.uses_motion:
            places += [
                (track.shape, self._predict_shift(track, track.frame)),
                (track.whole, self._predict_shift(track, track.whole_frame)),
            ]
        least = self._options.min_cover if covers else self._options.min_iou
        best: dict[int, float] = {}
        for number, (shape, shift) in enumerate(places):
            if (shape, shift) in places[:number]:
                continue
            found = moved_masks.compare(
                shape, frame.index_hw, frame.areas, shift
            )
            for index, agreement in found.items():
                value = agreement.cover if covers else agreement.iou
                row = index - 1
                if value >= max(least, best.get(row, 0.0)):
                    best[row] = value
        kept = np.intersect1d(np.array(list(best), np.int64), rows)
        return {row: best[row] for row in kept.tolist()}

    def _predict_shift(self, track: _Track, since: int) -> moved_masks.Shift:
        elapsed = self._frame - since
        return moved_masks.round_shift(
            track.velocity[0] * elapsed, track.velocity[1] * elapsed
        )

    def _compare_shapes(
        self, track: _Track, frame: FrameSegments, rows: npt.NDArray[np.int64]
    ) -> dict[int, float]:
        """Returns the IoU of rows with the shape of a track, if enough."""
        elapsed = self._frame - track.whole_frame
        expected = np.array(track.whole.center)
        expected += np.array(track.velocity) * elapsed
        squares = ((frame.centers[rows] - expected) ** 2).sum(axis=1)
        larger = np.maximum(frame.areas[rows + 1], track.whole.area)
        is_near = squares <= (_REACH * elapsed) ** 2 * larger
        found = {}
        for row in rows[is_near].tolist():
            iou = moved_masks.compute_shape_iou(track.whole, frame.shapes[row])
            if iou >= self._options.min_shape_iou:
                found[row] = iou
        return found

    def _number_class(self, category: int) -> int:
        if category not in self._whole:
            self._count += 1
            self._whole[category] = self._count
        return self._whole[category]

    def _continue(self, track: _Track, shape: Shape) -> int:
        track.shape, track.frame = shape, self._frame
        elapsed = self._frame - track.whole_frame
        is_hidden = _HIDDEN * shape.area < track.whole.area
        if (
            is_hidden
            and self._options.uses_motion
            and elapsed <= self._options.max_gap
        ):
            return track.number
        before = track.whole.center
        track.velocity = (
            (shape.center[0] - before[0]) / elapsed,
            (shape.center[1] - before[1]) / elapsed,
        )
        track.whole, track.whole_frame = shape, self._frame
        return track.number

    def _begin(self, segment: Segment, shape: Shape) -> int:
        self._count += 1
        self._tracks.append(
            _Track(
                self._count,
                segment.category,
                shape,
                self._frame,
                shape,
                self._frame,
            )
        )
        return self._count


def apply(result: PanopticResult, tracks: Mapping[int, int]) -> PanopticResult:
    """Returns a result whose segments have the ids of their tracks.

    Args:
        result: The result of a frame.
        tracks: What `Linker.add_result` returned for it.

    Returns:
        The same segments in the order of the ids of their tracks, which are
        also their "track_id"; segments of one track (groups of objects of a
        class) are joined. Linking such results again gives the same tracks.
    """
    ids = np.array(list(tracks), np.int64)
    numbers = np.array(list(tracks.values()), np.int64)
    linked_hw = label_map.replace_values(result.segmentation, ids, numbers)
    found = label_map.compute_segments(linked_hw)
    place = {number: i for i, number in enumerate(found.ids.tolist())}
    infos: dict[int, dict[str, Any]] = {}
    for info in result.segments_info:
        number = tracks.get(info["id"])
        if number is None or number in infos:
            continue
        y, x, height, width = found.boxes[place[number]].tolist()
        infos[number] = {
            **info,
            "id": number,
            "track_id": number,
            "area": int(found.areas[place[number]]),
            "bbox": [x, y, width, height],
        }
    return dataclasses.replace(
        result,
        segmentation=linked_hw,
        segments_info=[infos[number] for number in sorted(infos)],
    )
