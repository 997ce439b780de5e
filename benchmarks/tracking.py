# SPDX-License-Identifier: Apache-2.0
"""How often objects keep their ids in films of drawn scenes.

    python benchmarks/tracking.py [--model=demo/saved_model]

A transition is a true object that two frames have in succession, or that is
missing in between in up to --max_gap frames. It is kept where both frames give
the object the same track. Of predicted segments those transitions count whose
two segments are found, with an IoU above 0.5.
"""

import collections
import dataclasses
import pathlib
import platform
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from absl import flags

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from deeplab2_like.console import path_flags, program  # noqa: E402
from deeplab2_like.labels import descriptor as descriptor_lib  # noqa: E402
from deeplab2_like.labels import label_map  # noqa: E402
from deeplab2_like.metrics import (  # noqa: E402
    overlaps,
    track_frames,
    tracking_quality,
    video_panoptic_quality,
)
from deeplab2_like.results.panoptic_result import PanopticResult  # noqa: E402
from deeplab2_like.scenes import film, scene  # noqa: E402
from deeplab2_like.tracking import linking  # noqa: E402
from deeplab2_like.tracking.options import LinkOptions  # noqa: E402

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()
_FILMS = flags.DEFINE_integer(
    "films", 20, "Films to draw.", lower_bound=1, flag_values=_FLAGS
)
_FRAMES = flags.DEFINE_integer(
    "frames", 40, "Frames of each.", lower_bound=2, flag_values=_FLAGS
)
_RATE = flags.DEFINE_float("rate", 10.0, "Frames a second.", flag_values=_FLAGS)
_MAX_GAP = flags.DEFINE_integer(
    "max_gap",
    LinkOptions.max_gap,
    "Frames from which an object may be missing.",
    flag_values=_FLAGS,
)
_MODEL = path_flags.define(
    "model",
    None,
    "Folder of a model of `scenes` that deeplab2-export wrote; unset: true "
    "segments only.",
    holds_checkpoint=True,
    flag_values=_FLAGS,
)

_VOID = scene.IGNORE_LABEL
Predict = Callable[[scene.Scene], PanopticResult]


@dataclasses.dataclass
class Count:
    """Transitions of objects.

    Attributes:
        total: In successive frames.
        kept: Those of them that kept their id.
        gap_total: Through frames without the object.
        gap_kept: Those of them that kept their id.
    """

    total: int = 0
    kept: int = 0
    gap_total: int = 0
    gap_kept: int = 0

    def add(self, elapsed: int, is_kept: bool) -> None:
        """Adds a transition over `elapsed` frames."""
        if elapsed == 1:
            self.total += 1
            self.kept += is_kept
        else:
            self.gap_total += 1
            self.gap_kept += is_kept


def find_tracks(
    true_hw: np.ndarray, linked: PanopticResult, divisor: int
) -> dict[int, int]:
    """Returns the track of each true object that was found, by its label."""
    found = overlaps.compute_overlaps(true_hw, linked.segmentation)
    category = {info["id"]: info["label_id"] for info in linked.segments_info}
    areas = found.true_areas[found.true_index]
    union = areas + found.predicted_areas[found.predicted_index] - found.areas
    tracks = {}
    for label, track, shared, whole in zip(
        found.true_ids[found.true_index].tolist(),
        found.predicted_ids[found.predicted_index].tolist(),
        found.areas.tolist(),
        union.tolist(),
        strict=True,
    ):
        kind, instance = divmod(label, divisor)
        is_object = instance and category.get(track) == kind
        if is_object and 2 * shared > whole:
            tracks[label] = track
    return tracks


def run_film(
    frames: Sequence[scene.Scene],
    predict: Predict,
    options: LinkOptions,
    count: Count,
) -> list[PanopticResult]:
    """Links a film and counts its transitions; returns the linked frames."""
    linker = linking.Linker(options)
    last: dict[int, tuple[int, int]] = {}
    results = []
    for number, frame in enumerate(frames):
        found = predict(frame)
        linked = linking.apply(found, linker.add_result(found))
        results.append(linked)
        tracks = find_tracks(frame.panoptic, linked, scene.LABEL_DIVISOR)
        for label, track in tracks.items():
            if label in last:
                before, earlier = last[label]
                if number - before <= options.max_gap + 1:
                    count.add(number - before, track == earlier)
            last[label] = (number, track)
    return results


def to_labels(linked: PanopticResult) -> np.ndarray:
    """Returns int64 [H, W], class * DIVISOR + track, 0 for stuff."""
    divisor = track_frames.DIVISOR
    table = collections.defaultdict(lambda: _VOID * divisor)
    for info in linked.segments_info:
        table[info["id"]] = info["label_id"] * divisor + (
            info["id"] if info["isthing"] else 0
        )
    found, place = label_map.number_values(linked.segmentation)
    return np.array([table[i] for i in found.tolist()], np.int64)[place]


def measure(name: str, predict: Predict, options: LinkOptions) -> Count:
    """Links all films and prints their figures."""
    dataset = dataclasses.replace(
        descriptor_lib.load("scenes"), label_divisor=track_frames.DIVISOR
    )
    tracking = tracking_quality.TrackingQuality(dataset)
    video = video_panoptic_quality.VideoPanopticQuality(dataset)
    count = Count()
    for seed in range(_FILMS.value):
        frames = list(
            film.make_film(seed, frames=_FRAMES.value, rate=_RATE.value)
        )
        for frame, linked in zip(
            frames, run_film(frames, predict, options, count), strict=True
        ):
            kinds, instances = np.divmod(frame.panoptic, scene.LABEL_DIVISOR)
            labels = kinds.astype(np.int64) * track_frames.DIVISOR + instances
            tracking.update(labels, to_labels(linked), str(seed))
            video.update(labels, to_labels(linked), str(seed))
    share = 100 * count.kept / max(1, count.total)
    print(
        f"{name:22}{count.total:8}{count.kept:8}{share:8.2f} %"
        f"{count.gap_total:6}{count.gap_kept:6}"
        f"{100 * tracking.result().all.stq:8.2f}"
        f"{100 * tracking.result().all.aq:8.2f}"
        f"{100 * video.result().vpq:8.2f}"
    )
    return count


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    options = LinkOptions(max_gap=_MAX_GAP.value)
    still = dataclasses.replace(options, uses_motion=False)
    dataset = descriptor_lib.load("scenes")
    print(
        f"{platform.machine()}, Python {platform.python_version()}, NumPy"
        f" {np.__version__}; {_FILMS.value} films of {_FRAMES.value} frames,"
        f" {_RATE.value} a second"
    )
    print(
        f"\n{'segments':22}{'transit.':>8}{'kept':>8}{'':>10}{'gaps':>6}"
        f"{'kept':>6}{'STQ':>8}{'AQ':>8}{'VPQ':>8}"
    )
    start = time.perf_counter()

    def take_truth(frame: scene.Scene) -> PanopticResult:
        return PanopticResult.from_label(frame.panoptic, dataset)

    measure("true", take_truth, options)
    measure("true, no motion", take_truth, still)
    if _MODEL.value:
        from deeplab2_like.predict.predictor import Predictor

        predictor = Predictor.from_saved_model(_MODEL.value)

        def predict(frame: scene.Scene) -> PanopticResult:
            return predictor.predict(frame.image)

        measure("predicted", predict, options)
        measure("predicted, no motion", predict, still)
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    program.run(_main, _FLAGS)
