# SPDX-License-Identifier: Apache-2.0
"""PQ of COCO-panoptic files, with the rules of cocodataset/panopticapi.

The numbers are those of its `pq_compute` (commit 7bb4655). Where that stops
with a division by zero, the value here is NaN; where it silently accepts
doubtful ground truth, the result here has a warning.
"""

import concurrent.futures
import dataclasses
import os
import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.labels import coco_format
from deeplab2_like.metrics import (
    overlaps,
    quality_result,
    segment_matching,
)

# Warnings that are shown in full.
_MAX_WARNINGS = 3


@dataclasses.dataclass(frozen=True)
class _Pair:
    """Annotations and PNGs of the truth and the prediction of one image."""

    image_id: int | str
    true: dict[str, Any]
    predicted: dict[str, Any]
    true_png: pathlib.Path
    predicted_png: pathlib.Path


def compute_panoptic_quality(
    true_json: str | os.PathLike[str],
    predicted_json: str | os.PathLike[str],
    *,
    true_folder: str | os.PathLike[str] | None = None,
    predicted_folder: str | os.PathLike[str] | None = None,
    num_threads: int | None = None,
) -> quality_result.PanopticQualityResult:
    """Computes PQ of predictions in files against a ground truth in files.

    Crowd segments are never matched or missed, and of several crowd segments
    of one category in an image only the last one listed excuses predictions
    (see `segment_matching.count_matches`). Areas of true segments are those
    of the JSON file, areas of predicted ones are counted. Images of the
    predictions without ground truth are left out.

    Args:
        true_json: JSON file of the ground truth, with its categories.
        predicted_json: JSON file of the predictions, with the same image and
            category ids.
        true_folder: Folder of the PNGs of the ground truth; the path of
            `true_json` without its extension if None.
        predicted_folder: Folder of the PNGs of the predictions; the path of
            `predicted_json` without its extension if None.
        num_threads: Images that are processed at a time; one per processor if
            None.

    Returns:
        The qualities by category, in the order of the ground truth.

    Raises:
        DataError: A file is missing or damaged, an image of the ground truth
            has no prediction, sizes differ, a category does not exist, or the
            PNG and the JSON file of a prediction disagree. The message names
            the image and the segment.
    """
    true = coco_format.load_annotations(true_json)
    predicted = coco_format.load_annotations(predicted_json)
    if not true.categories:
        raise errors.DataError(
            f"{true.path} has no `categories`. The ground truth must list "
            "the category ids and which of them are things."
        )
    pairs = _pair_images(
        true,
        predicted,
        pathlib.Path(true_folder or true.path.with_suffix("")),
        pathlib.Path(predicted_folder or predicted.path.with_suffix("")),
    )
    class_of = {category: i for i, category in enumerate(true.categories)}
    counts = np.zeros((4, len(class_of)))
    warnings: list[str] = []
    threads = num_threads or os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        # In the order of the images, so that the sums do not depend on chance.
        for image_counts, found in pool.map(
            lambda pair: _count_pair(pair, class_of), pairs
        ):
            counts += image_counts
            warnings.extend(found)
    return quality_result.summarize(
        counts,
        class_ids=list(true.categories),
        names=[
            str(entry.get("name", category))
            for category, entry in true.categories.items()
        ],
        is_thing=[
            bool(entry.get("isthing", 1)) for entry in true.categories.values()
        ],
        num_images=len(pairs),
        warnings=_shorten(warnings),
    )


def _pair_images(
    true: coco_format.CocoAnnotations,
    predicted: coco_format.CocoAnnotations,
    true_folder: pathlib.Path,
    predicted_folder: pathlib.Path,
) -> list[_Pair]:
    missing = [i for i in true.annotations if i not in predicted.annotations]
    if missing:
        raise errors.DataError(
            f"{predicted.path} has no prediction for {len(missing)} of "
            f"{len(true.annotations)} images of {true.path}, for example "
            f"image {missing[0]}. Each needs an annotation, which may have no "
            "segments; ids of images must be those of the ground truth."
        )
    return [
        _Pair(
            image_id,
            annotation,
            predicted.annotations[image_id],
            true_folder / annotation["file_name"],
            predicted_folder / predicted.annotations[image_id]["file_name"],
        )
        for image_id, annotation in true.annotations.items()
    ]


def _count_pair(
    pair: _Pair, class_of: dict[int, int]
) -> tuple[npt.NDArray[np.float64], list[str]]:
    """Returns the counts of one image, float64 [4, C], and warnings."""
    true_hw = coco_format.load_segment_ids(pair.true_png)
    predicted_hw = coco_format.load_segment_ids(pair.predicted_png)
    if true_hw.shape != predicted_hw.shape:
        raise errors.DataError(
            f"Image {pair.image_id}: {pair.predicted_png} has the height and "
            f"width {predicted_hw.shape}, {pair.true_png} {true_hw.shape}. "
            "Predictions must have the size of the ground truth."
        )
    found = overlaps.compute_overlaps(true_hw, predicted_hw)
    predicted = _list_predicted(pair, found, class_of)
    true, warnings = _list_true(pair, found, class_of)
    is_void = true.ids == 0
    try:
        counts = segment_matching.count_matches(
            true, predicted, found, len(class_of), is_void
        )
    except errors.DataError as error:
        raise errors.DataError(f"Image {pair.image_id}: {error}") from error
    return counts, warnings


def _list_predicted(
    pair: _Pair, found: overlaps.Overlaps, class_of: dict[int, int]
) -> segment_matching.Segments:
    """Lists the predicted segments; PNG and JSON must agree."""
    infos = _index_segments(pair, pair.predicted, "prediction", class_of)
    ids = found.predicted_ids
    unlisted = [i for i in ids.tolist() if i and i not in infos]
    if unlisted:
        raise errors.DataError(
            f"Image {pair.image_id}: segment {unlisted[0]} is in "
            f"{pair.predicted_png} but not in the prediction's JSON file. "
            "List every id of the PNG in `segments_info`, or make it 0."
        )
    absent = set(infos).difference(ids.tolist())
    if absent:
        raise errors.DataError(
            f"Image {pair.image_id}: segment {min(absent)} is in the "
            f"prediction's JSON file but not in {pair.predicted_png}. Remove "
            "segments without pixels from `segments_info`."
        )
    classes = [
        class_of[infos[i]["category_id"]] if i else -1 for i in ids.tolist()
    ]
    return segment_matching.Segments(
        ids,
        np.array(classes, np.int64),
        found.predicted_areas,
        np.zeros(len(ids), bool),
    )


def _list_true(
    pair: _Pair, found: overlaps.Overlaps, class_of: dict[int, int]
) -> tuple[segment_matching.Segments, list[str]]:
    """Lists the true segments, those without pixels at the end."""
    infos = _index_segments(pair, pair.true, "ground truth", class_of)
    counted = dict(
        zip(found.true_ids.tolist(), found.true_areas.tolist(), strict=True)
    )
    ids = [*counted, *(i for i in infos if i not in counted)]
    warnings = []
    # By COCO's rules the last crowd segment of a category replaces others.
    last_crowd = {
        info["category_id"]: i
        for i, info in infos.items()
        if info.get("iscrowd", 0)
    }
    classes, areas, is_crowd = [], [], []
    for i in ids:
        info = infos.get(i)
        if info is None:
            classes.append(-1)
            areas.append(counted[i])
            is_crowd.append(False)
            if i:
                warnings.append(
                    f"Image {pair.image_id}: segment {i} is in {pair.true_png} "
                    "but not in the ground truth's JSON file; its pixels count "
                    "as background."
                )
            continue
        is_last = last_crowd.get(info["category_id"]) == i
        is_spare = bool(info.get("iscrowd", 0)) and not is_last
        classes.append(-1 if is_spare else class_of[info["category_id"]])
        areas.append(int(info["area"] if "area" in info else counted.get(i, 0)))
        is_crowd.append(bool(info.get("iscrowd", 0)) and is_last)
        if areas[-1] != counted.get(i, 0):
            warnings.append(
                f"Image {pair.image_id}: the ground truth's JSON file gives "
                f"segment {i} the area {areas[-1]}, {pair.true_png} has "
                f"{counted.get(i, 0)} pixels of it; the JSON file counts."
            )
    segments = segment_matching.Segments(
        np.array(ids, np.int64),
        np.array(classes, np.int64),
        np.array(areas, np.int64),
        np.array(is_crowd, bool),
    )
    return segments, warnings


def _index_segments(
    pair: _Pair, annotation: dict[str, Any], what: str, class_of: dict[int, int]
) -> dict[int, dict[str, Any]]:
    """Returns the entries of `segments_info` by id, checked."""
    infos: dict[int, dict[str, Any]] = {}
    for info in annotation["segments_info"]:
        segment, category = info.get("id"), info.get("category_id")
        if segment is None or category is None:
            raise errors.DataError(
                f"Image {pair.image_id}: an entry of the {what}'s "
                "`segments_info` lacks `id` or `category_id`. Each segment "
                "needs both."
            )
        if category not in class_of:
            raise errors.DataError(
                f"Image {pair.image_id}: segment {segment} of the {what} has "
                f"the category {category}, which the ground truth's "
                "`categories` do not have. Use the data set's category ids, "
                "not class indices."
            )
        if not 0 < segment <= coco_format.MAX_ID or segment in infos:
            raise errors.DataError(
                f"Image {pair.image_id}: the {what} lists segment {segment}"
                f"{' twice' if segment in infos else ''}. Ids are 1.."
                f"{coco_format.MAX_ID}, each listed once (0 is void)."
            )
        infos[segment] = info
    return infos


def _shorten(warnings: list[str]) -> list[str]:
    shown = warnings[:_MAX_WARNINGS]
    if len(warnings) > len(shown):
        shown.append(
            f"{len(warnings) - len(shown)} more warnings about the ground "
            "truth's areas and ids."
        )
    return shown
