# SPDX-License-Identifier: Apache-2.0
"""Matching of the true and the predicted segments of one image, for PQ.

Kirillov et al., "Panoptic Segmentation", CVPR 2019 (arXiv:1801.00868), sections
4.1 and 4.2, with the rules for void and crowd of cocodataset/panopticapi.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.labels import label_map
from deeplab2_like.metrics import overlaps as overlaps_lib


@dataclasses.dataclass(frozen=True)
class Segments:
    """The segments of one label map.

    Attributes:
        ids: int64 [N], as in the map; for messages.
        classes: int64 [N], class index; -1 for entries that are no segment.
        areas: int64 [N], in pixels.
        is_crowd: bool [N], true segments that need not be found.
    """

    ids: npt.NDArray[np.int64]
    classes: npt.NDArray[np.int64]
    areas: npt.NDArray[np.int64]
    is_crowd: npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class Matches:
    """The matched, missed and false segments of one image.

    Attributes:
        true_index: int64 [M], true segment of each match.
        predicted_index: int64 [M], predicted segment of each match.
        iou: float64 [M], above 0.5.
        is_missed: bool [N], true segments without a match, without crowd.
        is_false: bool [P], predicted segments without a match that are not
            excused.
    """

    true_index: npt.NDArray[np.int64]
    predicted_index: npt.NDArray[np.int64]
    iou: npt.NDArray[np.float64]
    is_missed: npt.NDArray[np.bool_]
    is_false: npt.NDArray[np.bool_]


def find_matches(
    true: Segments,
    predicted: Segments,
    overlaps: overlaps_lib.Overlaps,
    is_void: npt.NDArray[np.bool_],
) -> Matches:
    """Matches the segments of one image.

    A predicted and a true segment match when they are of one class, the true
    one is not crowd, and their IoU, without the predicted pixels on void, is
    above 0.5; so there is at most one match for each.

    Args:
        true: The N true segments, in the order of `overlaps.true_ids`.
        predicted: The P predicted segments, in the order of
            `overlaps.predicted_ids`.
        overlaps: Pixels that true and predicted segments share.
        is_void: bool [N], which entries of `true` are void. Their pixels count
            in no union, and a predicted segment with more than half of its
            area on void and on crowd segments of its class is excused, that
            is, not a false positive.

    Raises:
        DataError: An IoU is above 1, because areas contradict the map.
    """
    t, p, shared = (
        overlaps.true_index,
        overlaps.predicted_index,
        overlaps.areas,
    )
    same_class = true.classes[t] == predicted.classes[p]
    size = len(predicted.ids)
    void_areas = label_map.sum_at(p, shared * is_void[t], size)
    union = true.areas[t] + predicted.areas[p] - shared - void_areas[p]
    is_match = same_class & (true.classes[t] >= 0) & ~true.is_crowd[t]
    is_match &= 2 * shared > union
    t_match, p_match = t[is_match], p[is_match]
    _check_unions(
        true, predicted, t_match, p_match, shared[is_match] > union[is_match]
    )

    excused = is_void[t] | (same_class & true.is_crowd[t])
    excused_areas = label_map.sum_at(p, shared * excused, size)
    is_missed = (true.classes >= 0) & ~true.is_crowd
    is_missed[t_match] = False
    is_false = (predicted.classes >= 0) & (2 * excused_areas <= predicted.areas)
    is_false[p_match] = False
    return Matches(
        t_match,
        p_match,
        shared[is_match] / union[is_match],
        is_missed,
        is_false,
    )


def count_matches(
    true: Segments,
    predicted: Segments,
    overlaps: overlaps_lib.Overlaps,
    num_classes: int,
    is_void: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float64]:
    """Counts the matches of one image by class.

    Args:
        true: See `find_matches`.
        predicted: See `find_matches`.
        overlaps: See `find_matches`.
        num_classes: C.
        is_void: See `find_matches`.

    Returns:
        float64 [4, C]: sum of IoU, true positives, false positives, false
        negatives of each class.

    Raises:
        DataError: See `find_matches`.
    """
    found = find_matches(true, predicted, overlaps, is_void)
    classes = true.classes[found.true_index]
    false_classes = predicted.classes[found.is_false]
    missed_classes = true.classes[found.is_missed]
    return np.stack(
        [
            np.bincount(classes, weights=found.iou, minlength=num_classes),
            np.bincount(classes, minlength=num_classes),
            np.bincount(false_classes, minlength=num_classes),
            np.bincount(missed_classes, minlength=num_classes),
        ]
    )


def _check_unions(
    true: Segments,
    predicted: Segments,
    t_match: npt.NDArray[np.int64],
    p_match: npt.NDArray[np.int64],
    is_wrong: npt.NDArray[np.bool_],
) -> None:
    if not is_wrong.any():
        return
    t, p = int(t_match[is_wrong][0]), int(p_match[is_wrong][0])
    raise errors.DataError(
        f"The true segment {true.ids[t]} (stated area {true.areas[t]}) has an "
        f"IoU above 1 with the predicted segment {predicted.ids[p]}. Its area "
        "must be the number of its pixels: correct the ground truth."
    )
