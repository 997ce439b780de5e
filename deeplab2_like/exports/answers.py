# SPDX-License-Identifier: Apache-2.0
"""Compares the answers of a SavedModel for one image with what is expected."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from deeplab2_like.labels import coco_format, label_map
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.visualize import visualizer

# Values of a picture may be rounded differently.
_MAX_COLOR_STEP = 2


@dataclasses.dataclass(frozen=True)
class Expected:
    """What the live model says of an image.

    Attributes:
        map_hw: int32 [H, W], panoptic ids; classes where there are no
            instances.
        segments: Ids of the segments; None where there are no instances.
    """

    map_hw: npt.NDArray[np.int32]
    segments: set[int] | None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The comparison of one answer.

    Attributes:
        num_pixels: Number of pixels of the image.
        num_equal: Number of the pixels with the same id.
        problems: Sentences about other segments.
    """

    num_pixels: int
    num_equal: int
    problems: list[str] = dataclasses.field(default_factory=list)


def get_ids(
    outputs: Mapping[str, Any], descriptor: descriptor_lib.DatasetDescriptor
) -> npt.NDArray[np.int32]:
    """Returns the panoptic ids of the first image: int32 [H, W].

    Args:
        outputs: Outputs of a signature with maps.
        descriptor: The data set.
    """
    if "panoptic" in outputs:
        return np.asarray(outputs["panoptic"][0])
    return np.asarray(outputs["semantic"][0]) * descriptor.label_divisor


def compare_maps(
    name: str, outputs: Mapping[str, Any], expected: Expected
) -> Comparison:
    """Compares maps with those of the live model.

    Args:
        name: Name of the image, for sentences.
        outputs: Outputs of a signature with maps, for one image.
        expected: What the live model says.
    """
    key = "semantic" if expected.segments is None else "panoptic"
    equal = int(np.sum(np.asarray(outputs[key])[0] == expected.map_hw))
    problems = []
    if expected.segments is not None:
        problems = _compare_segments(name, outputs, expected.segments)
    return Comparison(expected.map_hw.size, equal, problems)


def _compare_segments(
    name: str, outputs: Mapping[str, Any], expected: set[int]
) -> list[str]:
    is_valid = np.asarray(outputs["segment_is_valid"])[0]
    found = set(np.asarray(outputs["segment_id"])[0][is_valid].tolist())
    if found == expected:
        return []
    missing, extra = expected - found, found - expected
    return [
        f"{name}: {len(found)} segments instead of {len(expected)}, missing "
        f"{sorted(missing)[:3]}, unexpected {sorted(extra)[:3]}"
    ]


def compare_compact(
    name: str,
    rows: Mapping[str, Any],
    outputs: Mapping[str, Any],
    descriptor: descriptor_lib.DatasetDescriptor,
) -> Comparison:
    """Compares a compact answer with the maps.

    Args:
        name: Name of the image and the signature, for sentences.
        rows: Outputs of a compact signature, for one image.
        outputs: Outputs of the signature with maps of the same kind.
        descriptor: The data set.
    """
    divisor = descriptor.label_divisor
    ids_hw = get_ids(outputs, descriptor)
    is_valid = np.asarray(outputs["segment_is_valid"])[0]
    ids = np.asarray(outputs["segment_id"])[0][is_valid]
    expected = label_map.replace_values(ids_hw, ids, np.arange(1, len(ids) + 1))
    row = {key: np.asarray(value)[0] for key, value in rows.items()}
    if row["error"]:
        sentence = row["error"].decode("utf-8", "replace")
        return Comparison(expected.size, 0, [f"{name}: {sentence}"])
    found = coco_format.decode_ids(
        tf.io.decode_png(row["panoptic_png_bytes"], channels=3).numpy()
    )
    if found.shape != expected.shape:
        return Comparison(expected.size, 0, [f"{name}: {found.shape}"])
    areas = np.bincount(found.reshape(-1), minlength=len(ids) + 1)[1:]
    used = slice(0, row["num_segments"])
    problems = [
        f"{name}: other segment_{key}"
        for key, values in (
            ("id", np.arange(1, len(ids) + 1)),
            ("category_id", np.take(descriptor.category_ids, ids // divisor)),
            ("isthing", [descriptor.is_thing(i) for i in ids // divisor]),
            ("area", areas),
        )
        if row[f"segment_{key}"][used].tolist() != list(values)
    ]
    return Comparison(expected.size, int(np.sum(found == expected)), problems)


def compare_overlay(
    name: str,
    rows: Mapping[str, Any],
    outputs: Mapping[str, Any],
    image_hw3: npt.NDArray[np.uint8],
    descriptor: descriptor_lib.DatasetDescriptor,
) -> Comparison:
    """Compares a picture with what `visualize` draws of the maps.

    Args:
        name: Name of the image and the signature, for sentences.
        rows: Outputs of an overlay signature, for one image.
        outputs: Outputs of the signature with maps of the same kind.
        image_hw3: uint8 [H, W, 3], the image.
        descriptor: The data set.
    """
    ids_hw = get_ids(outputs, descriptor)
    (error,) = np.asarray(rows["error"])
    if error:
        sentence = error.decode("utf-8", "replace")
        return Comparison(ids_hw.size, 0, [f"{name}: {sentence}"])
    result = PanopticResult.from_prediction(
        ids_hw,
        descriptor,
        segment_ids=outputs["segment_id"][0],
        segment_scores=outputs["segment_score"][0],
        is_valid=outputs["segment_is_valid"][0],
    )
    expected = visualizer.visualize(
        image_hw3, result, descriptor, scale=1, names=False, legend=False
    )
    (png,) = np.asarray(rows["overlay_png_bytes"])
    found = tf.io.decode_png(png, channels=3).numpy()
    if found.shape != expected.shape:
        return Comparison(ids_hw.size, 0, [f"{name}: {found.shape}"])
    step = np.abs(found.astype(int) - expected).max(axis=-1)
    return Comparison(ids_hw.size, int(np.sum(step <= _MAX_COLOR_STEP)))
