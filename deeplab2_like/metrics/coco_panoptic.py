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

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.labels import coco_format, coco_json, image_ids
from deeplab2_like.metrics import (
    overlaps,
    quality_result,
    segment_matching,
)
from deeplab2_like.storage import in_order

# Warnings that are shown in full.
_MAX_WARNINGS = 3
# Images that are counted ahead of their turn, for each thread.
_AHEAD = 4


@dataclasses.dataclass(frozen=True, slots=True)
class _Pair:
    """Annotations and PNGs of the truth and the prediction of one image."""

    image_id: int | str
    true: coco_json.Annotation
    predicted: coco_json.Annotation
    true_folder: pathlib.Path
    predicted_folder: pathlib.Path

    @property
    def true_png(self) -> str:
        return str(self.true_folder / self.true.file_name)

    @property
    def predicted_png(self) -> str:
        return str(self.predicted_folder / self.predicted.file_name)


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
    true = coco_json.load(true_json, ["annotations"], ["categories"])
    predicted = coco_json.load(predicted_json, ["annotations"])
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
    warnings = [*true.warnings]
    unknown = [c for c in true.categories.values() if c.is_thing is None]
    if unknown:
        warnings.append(
            f"{true.path} does not say isthing for {len(unknown)} categories, "
            f"for example {unknown[0].id} ({unknown[0].name!r}): they count as "
            "things."
        )
    threads = num_threads or os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        # In the order of the images, so that the sums do not depend on chance.
        for image_counts, found in in_order.call(
            pool,
            lambda pair: _count_pair(pair, class_of),
            pairs,
            _AHEAD * threads,
        ):
            counts += image_counts
            warnings.extend(found)
    return quality_result.summarize(
        counts,
        class_ids=list(true.categories),
        names=[c.name or str(c.id) for c in true.categories.values()],
        is_thing=[c.is_thing is not False for c in true.categories.values()],
        num_images=len(pairs),
        warnings=_shorten(warnings),
    )


def _pair_images(
    true: coco_json.PanopticJson,
    predicted: coco_json.PanopticJson,
    true_folder: pathlib.Path,
    predicted_folder: pathlib.Path,
) -> list[_Pair]:
    index = image_ids.IdIndex(predicted.annotations)
    pairs, missing = [], []
    for image_id, annotation in true.annotations.items():
        found = index.find(image_id)
        if found is None:
            missing.append(image_id)
            continue
        pairs.append(
            _Pair(
                image_id,
                annotation,
                predicted.annotations[found],
                true_folder,
                predicted_folder,
            )
        )
    if missing:
        raise errors.DataError(
            f"{predicted.path} has no prediction for {len(missing)} of "
            f"{len(true.annotations)} images of {true.path}, for example "
            f"image {missing[0]}. Each needs an annotation, which may have no "
            "segments; ids of images must be those of the ground truth."
        )
    return pairs


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
    areas = dict(zip(ids.tolist(), found.predicted_areas.tolist(), strict=True))
    unlisted = {i: area for i, area in areas.items() if i and i not in infos}
    if unlisted:
        described = coco_format.describe_unlisted_ids(
            pair.predicted_png, unlisted, len(infos)
        )
        raise errors.DataError(
            f"Image {pair.image_id} of the prediction: {described}. List every "
            f"id of {pair.predicted_png} in `segments_info`, or make it 0."
        )
    absent = set(infos).difference(areas)
    if absent:
        raise errors.DataError(
            f"Image {pair.image_id}: segment {min(absent)} is in the "
            f"prediction's JSON file but not in {pair.predicted_png}. Remove "
            "segments without pixels from `segments_info`."
        )
    classes = [
        class_of[infos[i].category_id] if i else -1 for i in ids.tolist()
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
    unlisted = {i: area for i, area in counted.items() if i and i not in infos}
    if unlisted:
        described = coco_format.describe_unlisted_ids(
            pair.true_png, unlisted, len(infos)
        )
        warnings.append(
            f"Image {pair.image_id} of the ground truth ({pair.true_png}): "
            f"{described}. These pixels count as background."
        )
    # By COCO's rules the last crowd segment of a category replaces others.
    last_crowd = {
        info.category_id: i for i, info in infos.items() if info.is_crowd
    }
    classes, areas, is_crowd = [], [], []
    for i in ids:
        info = infos.get(i)
        if info is None:
            classes.append(-1)
            areas.append(counted[i])
            is_crowd.append(False)
            continue
        is_last = last_crowd.get(info.category_id) == i
        is_spare = info.is_crowd and not is_last
        classes.append(-1 if is_spare else class_of[info.category_id])
        area = counted.get(i, 0) if info.area is None else int(info.area)
        areas.append(area)
        is_crowd.append(info.is_crowd and is_last)
        if area != counted.get(i, 0):
            warnings.append(
                f"Image {pair.image_id}: the ground truth's JSON file gives "
                f"segment {i} the area {area}, {pair.true_png} has "
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
    pair: _Pair,
    annotation: coco_json.Annotation,
    what: str,
    class_of: dict[int, int],
) -> dict[int, coco_json.Segment]:
    """Returns the segments by id; their categories exist."""
    for segment in annotation.segments:
        if segment.category_id not in class_of:
            raise errors.DataError(
                f"Image {pair.image_id}: segment {segment.id} of the {what} "
                f"has the category {segment.category_id}, which the ground "
                "truth's `categories` do not have. Use the data set's category "
                "ids, not class indices."
            )
    return {segment.id: segment for segment in annotation.segments}


def _shorten(warnings: list[str]) -> list[str]:
    shown = warnings[:_MAX_WARNINGS]
    if len(warnings) > len(shown):
        shown.append(
            f"{len(warnings) - len(shown)} more warnings about the ground "
            "truth's areas and ids."
        )
    return shown
