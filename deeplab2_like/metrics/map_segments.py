# SPDX-License-Identifier: Apache-2.0
"""The segments of label maps, as matching takes them, and their scores."""

from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.metrics import overlaps, segment_matching

# panopticapi: the COCO rules for crowd segments. deeplab2: crowd segments are
# segments like others, and void is void only with instance 0.
VARIANTS = ("panopticapi", "deeplab2")


class SegmentFinder:
    """Finds the segments of a true and a predicted map, checked.

    The rules of the variants are described in `PanopticQuality`.
    """

    def __init__(self, descriptor: DatasetDescriptor, variant: str):
        """Keeps the classes.

        Args:
            descriptor: The data set of the labels.
            variant: One of `VARIANTS`.

        Raises:
            ConfigError: The variant does not exist.
        """
        if variant not in VARIANTS:
            raise errors.ConfigError(
                f"PQ variant {variant!r} does not exist. Choose one of "
                f"{', '.join(VARIANTS)}."
            )
        self._variant = variant
        self._num_classes = descriptor.num_classes
        self._ignore_label = descriptor.ignore_label
        self._label_divisor = descriptor.label_divisor
        self._is_thing = np.zeros(self._num_classes, bool)
        self._is_thing[list(descriptor.thing_ids)] = True

    def find(
        self, name: str, found: overlaps.Overlaps
    ) -> tuple[
        segment_matching.Segments,
        segment_matching.Segments,
        npt.NDArray[np.bool_],
    ]:
        """Finds the segments of one image.

        Args:
            name: Name of the image, for error messages.
            found: Pixels that the labels of both maps share.

        Returns:
            The true and the predicted segments, in the order of the ids of
            `found`; and which entries of the true ones are void.

        Raises:
            DataError: A label has a class that the data set does not have.
        """
        true = self._find_segments(
            f"The ground truth of image {name}",
            found.true_ids,
            found.true_areas,
        )
        predicted = self._find_segments(
            f"The prediction for image {name}",
            found.predicted_ids,
            found.predicted_areas,
        )
        is_void = true.classes < 0
        if self._variant == "deeplab2":
            true.is_crowd[:] = False
            is_void = true.ids == self._ignore_label * self._label_divisor
        return true, predicted, is_void

    def _find_segments(
        self,
        what: str,
        ids: npt.NDArray[np.int64],
        areas: npt.NDArray[np.int64],
    ) -> segment_matching.Segments:
        classes = ids // self._label_divisor
        is_void = classes == self._ignore_label
        is_legal = is_void | ((classes >= 0) & (classes < self._num_classes))
        if not is_legal.all():
            wrong = ids[~is_legal]
            raise errors.DataError(
                f"{what} has {len(wrong)} labels of unknown classes, for "
                f"example {wrong[0]} (class {wrong[0] // self._label_divisor}"
                f" with label_divisor {self._label_divisor}). Classes are "
                f"0..{self._num_classes - 1} and {self._ignore_label} (void): "
                "correct the labels or the data set descriptor."
            )
        classes = np.where(is_void, -1, classes)
        # Index -1 (void) reads the last class; the comparison removes it.
        is_crowd = self._is_thing[classes] & (classes >= 0)
        is_crowd &= ids % self._label_divisor == 0
        return segment_matching.Segments(ids, classes, areas, is_crowd)


def look_up_scores(
    name: str,
    ids: npt.NDArray[np.int64],
    segment_ids: npt.NDArray[Any],
    segment_scores: npt.NDArray[Any],
) -> npt.NDArray[np.float64]:
    """Looks up the scores of segments in the table of an image.

    Args:
        name: Name of the image, for error messages.
        ids: int64 [N], labels of the segments.
        segment_ids: Integers [S], labels of the table.
        segment_scores: Floats [S], their scores.

    Returns:
        float64 [N].

    Raises:
        DataError: A segment is not in the table, or its score is not finite.
    """
    table = dict(
        zip(segment_ids.tolist(), segment_scores.tolist(), strict=True)
    )
    missing = [i for i in ids.tolist() if i not in table]
    if missing:
        raise errors.DataError(
            f"Image {name}: {len(missing)} predicted things have no score, "
            f"for example the segment {missing[0]}. Each thing of the map "
            "must be in the segment table."
        )
    scores = np.array([table[i] for i in ids.tolist()], np.float64)
    if not np.isfinite(scores).all():
        wrong = ids[~np.isfinite(scores)][0]
        raise errors.DataError(
            f"Image {name}: the score of segment {wrong} is {table[int(wrong)]}"
            ". Scores must be finite numbers: check the model's outputs."
        )
    return scores
