# SPDX-License-Identifier: Apache-2.0
"""Bands of an image: rows of head outputs -> maps of full size, in TensorFlow.

The functions are those of `postprocess.pixels`, on some rows of the heads.
Head positions lie `stride` pixels apart, a power of 2, in each part of the
canvas as in all of it; so the upsampled values are the same, bit by bit.

h, w: rows of the heads that are read, and their width; H, W: rows of the band
and width of the canvas.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from deeplab2_like.graph import recent_shapes
from deeplab2_like.large_images import blending
from deeplab2_like.postprocess import batch
from deeplab2_like.postprocess.pixels import (
    averaging,
    centers,
    semantic,
    upsampling,
)

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Band:
    """Some rows of the image.

    Attributes:
        index: Number of the band.
        top: First row.
        bottom: Row behind the last.
    """

    index: int
    top: int
    bottom: int


@dataclasses.dataclass(frozen=True)
class Bands:
    """The bands of an image.

    Attributes:
        height: Rows of the image.
        rows: Rows of a band, a multiple of the head stride; the last one may
            have fewer.
    """

    height: int
    rows: int

    def __len__(self) -> int:
        """Returns the number of bands."""
        return -(-self.height // self.rows)

    def __iter__(self) -> Iterator[Band]:
        """Yields the bands from top to bottom."""
        for index in range(len(self)):
            top = index * self.rows
            yield Band(index, top, min(top + self.rows, self.height))


def cut(height: int, width: int, stride: int, band_pixels: int) -> Bands:
    """Cuts an image into bands of about `band_pixels` pixels."""
    return Bands(height, max(1, band_pixels // width // stride) * stride)


class Rows:
    """Rows of the heads that contain some rows of the image.

    Attributes:
        first: First of these rows.
        last: The row behind the last.
        size: (H, W) of what they become at full size.
        skipped: Rows of it before those that were asked for.
    """

    def __init__(self, maps: blending.HeadMaps, top: int, bottom: int):
        """Finds the rows of the heads; reads nothing.

        Args:
            maps: The heads.
            top: First row of the image.
            bottom: Row behind the last.
        """
        stride = maps.stride
        # At least two, so that there is a distance between them.
        first = min(top // stride, max(maps.height - 2, 0))
        last = min(-(-(bottom - 1) // stride) + 1, maps.height)
        self.first, self.last = first, max(last, min(first + 2, maps.height))
        self.size = (
            (self.last - self.first - 1) * stride + 1,
            (maps.width - 1) * stride + 1,
        )
        self.skipped = top - first * stride

    def read(self, maps: blending.HeadMaps, name: str) -> tf.Tensor:
        """Reads them: float32 [h, w, channels]."""
        return tf.constant(maps.read(name, self.first, self.last))


@recent_shapes.trace
def _upsample(maps_hwc: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    return upsampling.upsample_maps(tf.transpose(maps_hwc, [2, 0, 1]), size)[0]


def upsample_heatmap(heatmap_hw1: tf.Tensor, size: tuple[int, int]) -> Array:
    """Upsamples the heatmap: float32 [H, W]."""
    if tuple(heatmap_hw1.shape[:2]) == size:
        return heatmap_hw1.numpy()[..., 0]
    return _upsample(heatmap_hw1, size).numpy()


@recent_shapes.trace
def _suppress(
    heatmap_hw: tf.Tensor, threshold: float, kernel: int
) -> tf.Tensor:
    return centers.suppress_non_maxima(heatmap_hw, threshold, kernel)


def suppress(heatmap_hw: Array, threshold: float, kernel: int) -> Array:
    """Keeps the peaks of a heatmap; see `centers.suppress_non_maxima`."""
    return _suppress(tf.constant(heatmap_hw), threshold, kernel).numpy()


@recent_shapes.trace
def _find_classes(
    scores_hwc: tf.Tensor,
    are_probabilities: bool,
    size: tuple[int, int],
    rows: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    scores = semantic.Scores(scores_hwc, are_probabilities)
    found = semantic.compute_semantic_map(scores, size, rows)
    return found.packed, found.category


@dataclasses.dataclass(frozen=True)
class Classes:
    """The classes of a band.

    Attributes:
        packed: float32 [H, W], see `semantic.SemanticMap`.
        category: int32 [H, W].
        num_classes: C.
    """

    packed: Array
    category: Array
    num_classes: int

    @property
    def probability(self) -> Array:
        """float32 [H, W], that of the class."""
        return semantic.SemanticMap(
            tf.constant(self.packed), self.num_classes
        ).probability.numpy()


def find_classes(
    scores_hwc: tf.Tensor, are_probabilities: bool, size: tuple[int, int]
) -> Classes:
    """Finds the most probable class of each pixel."""
    packed, category = _find_classes(
        scores_hwc, are_probabilities, size, tf.constant(size[0])
    )
    return Classes(packed.numpy(), category.numpy(), scores_hwc.shape[2])


@recent_shapes.trace
def _upsample_offsets(
    offset_hw2: tf.Tensor, size: tuple[int, int], rows: tf.Tensor
) -> tf.Tensor:
    return batch.upsample_instance_maps(
        offset_hw2[..., :1], offset_hw2, size, rows
    ).offset


def upsample_offsets(offset_hw2: tf.Tensor, size: tuple[int, int]) -> Array:
    """Upsamples and scales the offsets: float32 [2, H, W]."""
    return _upsample_offsets(offset_hw2, size, tf.constant(size[0])).numpy()


def compute_probability(
    scores_hwc: tf.Tensor,
    are_probabilities: bool,
    size: tuple[int, int],
    place: tuple[Array, Array],
    packed_n: Array,
    category_n: Array,
) -> Array:
    """Computes the probabilities of given classes at some pixels.

    Args:
        scores_hwc: float32 [h, w, C].
        are_probabilities: Whether these are probabilities, not logits.
        size: (H, W).
        place: int32 [N] each, row and column in H and W.
        packed_n: float32 [N], see `semantic.SemanticMap`.
        category_n: int32 [N], the classes.

    Returns:
        float32 [N].
    """
    return semantic.compute_probability_at(
        semantic.Scores(scores_hwc, are_probabilities),
        semantic.SemanticMap(tf.constant(packed_n), scores_hwc.shape[2]),
        size,
        tuple(tf.constant(values, tf.int32) for values in place),
        tf.constant(category_n, tf.int32),
    ).numpy()


def count_units(probability: Array) -> npt.NDArray[np.int64]:
    """Rounds probabilities to units, as `averaging` does."""
    scaled = probability * np.float32(averaging.UNITS) + np.float32(0.5)
    return scaled.astype(np.int64)
