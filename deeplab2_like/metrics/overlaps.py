# SPDX-License-Identifier: Apache-2.0
"""Pairs of segments of two label maps that share pixels, and their areas.

Every metric of this package is a small computation on these areas. Label maps
consist of long runs of equal values, so the pixels are first reduced to the
places where either map changes along a row (about 1 % of the pixels).
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.labels import label_map


@dataclasses.dataclass(frozen=True)
class Overlaps:
    """The pairs of segments that share pixels in two label maps.

    Attributes:
        true_ids: int64 [N], different values of the true map, ascending.
        predicted_ids: int64 [M], different values of the predicted map,
            ascending.
        true_index: int64 [P], for each pair its index in `true_ids`.
        predicted_index: int64 [P], for each pair its index in `predicted_ids`.
        areas: int64 [P], pixels that the pair shares, at least 1.
    """

    true_ids: npt.NDArray[np.int64]
    predicted_ids: npt.NDArray[np.int64]
    true_index: npt.NDArray[np.int64]
    predicted_index: npt.NDArray[np.int64]
    areas: npt.NDArray[np.int64]

    @property
    def true_areas(self) -> npt.NDArray[np.int64]:
        """int64 [N], pixels of each value of the true map."""
        return label_map.sum_at(self.true_index, self.areas, len(self.true_ids))

    @property
    def predicted_areas(self) -> npt.NDArray[np.int64]:
        """int64 [M], pixels of each value of the predicted map."""
        return label_map.sum_at(
            self.predicted_index, self.areas, len(self.predicted_ids)
        )


def compute_overlaps(
    true_hw: npt.NDArray[Any], predicted_hw: npt.NDArray[Any]
) -> Overlaps:
    """Counts the pixels that each pair of values shares in two label maps.

    Args:
        true_hw: Integers of any type [H, W], any values.
        predicted_hw: Integers of any type [H, W], any values.

    Returns:
        The pairs that occur, ordered by true id, then by predicted id.
    """
    true_runs, predicted_runs, lengths = _split_into_runs(true_hw, predicted_hw)
    true_ids, true_index = label_map.number_values(true_runs)
    predicted_ids, predicted_index = label_map.number_values(predicted_runs)
    width = max(len(predicted_ids), 1)
    keys = true_index * width + predicted_index
    if len(true_ids) * width <= label_map.MAX_TABLE:
        table = label_map.sum_at(keys, lengths, len(true_ids) * width)
        pairs = np.flatnonzero(table).astype(np.int64)
        areas = table[pairs]
    else:
        pairs, inverse = np.unique(keys, return_inverse=True)
        areas = label_map.sum_at(inverse, lengths, len(pairs))
    return Overlaps(
        true_ids, predicted_ids, pairs // width, pairs % width, areas
    )


def _split_into_runs(
    true_hw: npt.NDArray[Any], predicted_hw: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Returns both values and the length of each run of equal pairs."""
    if true_hw.flags.f_contiguous and predicted_hw.flags.f_contiguous:
        true_hw, predicted_hw = true_hw.T, predicted_hw.T
    true = np.ascontiguousarray(true_hw).reshape(-1)
    predicted = np.ascontiguousarray(predicted_hw).reshape(-1)
    changes = np.ones(true.size, bool)
    if true.size:
        np.not_equal(true[1:], true[:-1], out=changes[1:])
        changes[1:] |= predicted[1:] != predicted[:-1]
    starts = np.flatnonzero(changes)
    lengths = np.diff(starts, append=true.size).astype(np.int64)
    return true[starts], predicted[starts], lengths


def convert_labels(labels: Any, what: str) -> npt.NDArray[Any]:
    """Converts a label map to an array of the same integers.

    Args:
        labels: Integers of any type and dimensions, an array or a tensor.
        what: Name of the map, for error messages.

    Raises:
        DataError: The map is not an array of integers.
    """
    array = np.asarray(labels)
    if array.dtype.kind == "O":
        raise errors.DataError(
            f"The {what} is a {type(labels).__name__}. It must be an array of "
            "integers, for example the result of `panoptic()` or `semantic()` "
            "of a `PanopticResult`."
        )
    if array.dtype.kind not in "iu":
        raise errors.DataError(
            f"The {what} has the type {array.dtype}. Label maps are "
            "integers; convert it, for example with astype('int32')."
        )
    return array


def iterate_images(
    true: Any, predicted: Any, names: Sequence[str] | None = None
) -> Iterator[tuple[str, npt.NDArray[Any], npt.NDArray[Any]]]:
    """Splits label maps of one image or of a batch into images.

    Args:
        true: Integers [H, W] or [B, H, W].
        predicted: Integers of the same dimensions.
        names: Name of each image, for error messages.

    Yields:
        Name, true [H, W] and predicted [H, W] of each image.

    Raises:
        DataError: The maps are not integers or differ in their dimensions.
    """
    true = convert_labels(true, "ground truth")
    predicted = convert_labels(predicted, "prediction")
    if true.shape != predicted.shape or true.ndim not in (2, 3):
        raise errors.DataError(
            f"The ground truth has the dimensions {true.shape}, the "
            f"prediction {predicted.shape}. Both must be [H, W] or [B, H, W] "
            "and equal: resize the prediction to the ground truth first."
        )
    if true.ndim == 2:
        true, predicted = true[None], predicted[None]
    if names is not None and len(names) != len(true):
        raise errors.DataError(
            f"{len(names)} names were given for {len(true)} images. Give one "
            "name for each image of the batch."
        )
    for i in range(len(true)):
        name = names[i] if names is not None else f"{i} of the batch"
        yield name, true[i], predicted[i]
