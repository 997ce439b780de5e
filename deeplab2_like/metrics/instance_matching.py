# SPDX-License-Identifier: Apache-2.0
"""Matching of detections with true objects of one class and image, for AP.

The rules are those of COCO's evaluation (pycocotools, `COCOeval.evaluateImg`),
computed for all thresholds and area ranges together.
"""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

# IoUs 0.5, 0.55, ..., 0.95.
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
# In pixels, both limits included: all, small, medium, large.
AREA_RANGES = np.array(
    [[0, 1e5**2], [0, 32**2], [32**2, 96**2], [96**2, 1e5**2]]
)
# Detections of one class in one image that count, best first.
MAX_DETECTIONS = 100


@dataclasses.dataclass(frozen=True)
class MatchedDetections:
    """Matched, unmatched and ignored detections of one class in one image.

    Attributes:
        scores: float64 [D], descending.
        is_matched: bool [A, T, D], by area range and IoU threshold.
        is_ignored: bool [A, T, D], detections that are neither right nor
            wrong.
        true_is_ignored: bool [A, G], true objects that need not be found.
    """

    scores: npt.NDArray[np.float64]
    is_matched: npt.NDArray[np.bool_]
    is_ignored: npt.NDArray[np.bool_]
    true_is_ignored: npt.NDArray[np.bool_]


def compute_ious(
    shared_dg: npt.NDArray[Any],
    areas_d: npt.NDArray[Any],
    true_areas_g: npt.NDArray[Any],
    is_crowd_g: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float64]:
    """Computes COCO's IoU of detections and true objects.

    With a crowd region the union is the detection alone, so that several
    detections can lie in it.

    Args:
        shared_dg: [D, G], pixels that detection and true object share.
        areas_d: [D], pixels of the detections, above 0.
        true_areas_g: [G], pixels of the true objects.
        is_crowd_g: bool [G].

    Returns:
        float64 [D, G].
    """
    union = areas_d[:, None] + true_areas_g[None] - shared_dg
    union = np.where(is_crowd_g[None], areas_d[:, None], union)
    return np.asarray(shared_dg / union, np.float64)


def match_detections(
    scores_d: npt.NDArray[Any],
    ious_dg: npt.NDArray[np.float64],
    areas_d: npt.NDArray[Any],
    true_areas_g: npt.NDArray[Any],
    is_crowd_g: npt.NDArray[np.bool_],
) -> MatchedDetections:
    """Matches each detection, best score first, with the object of largest IoU.

    Objects outside of the area range and crowd regions are matched only if no
    other object is left for the detection. Detections that match them are
    ignored, as are unmatched detections outside of the area range. Of equal
    scores the first detection comes first; of equal IoUs the last object is
    matched.

    Args:
        scores_d: float [D], higher is better.
        ious_dg: float64 [D, G], by `compute_ious`.
        areas_d: [D], pixels of the detections.
        true_areas_g: [G], pixels of the true objects.
        is_crowd_g: bool [G].
    """
    order = np.argsort(-scores_d, kind="stable")[:MAX_DETECTIONS]
    ious_dg, areas_d = ious_dg[order], areas_d[order]
    true_is_ignored = is_crowd_g | _is_outside(true_areas_g)

    shape = (len(AREA_RANGES), len(IOU_THRESHOLDS), len(order))
    is_matched = np.zeros(shape, bool)
    is_ignored = np.zeros(shape, bool)
    is_taken = np.zeros((*shape[:2], len(true_areas_g)), bool)
    for d, ious_g in enumerate(ious_dg):
        candidates = np.flatnonzero(ious_g >= IOU_THRESHOLDS[0])
        if not len(candidates):
            continue
        # Best last, so that the last possible one is the match.
        candidates = candidates[np.argsort(ious_g[candidates], kind="stable")]
        is_possible = ious_g[candidates] >= IOU_THRESHOLDS[:, None]
        is_possible = is_possible & ~is_taken[..., candidates]
        ignored = true_is_ignored[:, None, candidates]
        # Objects that are not ignored come before any that are.
        rank = np.arange(1, len(candidates) + 1)
        rank = rank + np.where(ignored, 0, len(candidates))
        rank = np.where(is_possible, rank, 0)
        best = rank.argmax(-1)
        found = rank.max(-1) > 0
        is_matched[..., d] = found
        is_ignored[..., d] = found & np.take_along_axis(
            np.broadcast_to(ignored, rank.shape), best[..., None], -1
        ).squeeze(-1)
        taken = candidates[best]
        a, t = np.nonzero(found & ~is_crowd_g[taken])
        is_taken[a, t, taken[a, t]] = True

    is_ignored |= ~is_matched & _is_outside(areas_d)[:, None, :]
    return MatchedDetections(
        scores_d[order].astype(np.float64),
        is_matched,
        is_ignored,
        true_is_ignored,
    )


def _is_outside(areas_n: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Returns bool [A, N]: whether an area is outside of each range."""
    low, high = AREA_RANGES[:, :1], AREA_RANGES[:, 1:]
    return (areas_n[None] < low) | (areas_n[None] > high)
