# SPDX-License-Identifier: Apache-2.0
"""Boxes: areas, overlaps, clipping, and their coding relative to others.

A box is (y1, x1, y2, x2), float32, in pixels: pixel i reaches from i to i + 1,
so that the box of a whole image is (0, 0, height, width). Boxes without area,
or with ends in the wrong order, have the area 0 and overlap with nothing.

Results are the same in eager mode, graphs and XLA (`exact_floats`), except for
the last bits of `encode`, on which no selection depends.
"""

import math
from collections.abc import Sequence

import tensorflow as tf

from deeplab2_like.graph import exact_floats

# Largest change of a side by one decoding, a factor of 62.5; as in detectron2.
MAX_LOG_SCALE = math.log(1000.0 / 16.0)

# Smallest side that is used as a divisor, in pixels.
_SMALLEST_SIDE = 1e-3


def compute_area(boxes: tf.Tensor) -> tf.Tensor:
    """Computes the areas of boxes.

    Args:
        boxes: float32 [..., 4].

    Returns:
        float32 [...], in square pixels.
    """
    y1, x1, y2, x2 = tf.unstack(boxes, axis=-1)
    return exact_floats.rounded(
        tf.maximum(y2 - y1, 0.0) * tf.maximum(x2 - x1, 0.0)
    )


def compute_overlap(boxes_nx4: tf.Tensor, others_mx4: tf.Tensor) -> tf.Tensor:
    """Computes the intersection over union of all pairs.

    Args:
        boxes_nx4: float32 [..., N, 4].
        others_mx4: float32 [..., M, 4]; leading axes broadcast.

    Returns:
        float32 [..., N, M] in 0..1; 0 where both areas are 0.
    """
    a = boxes_nx4[..., :, tf.newaxis, :]
    b = others_mx4[..., tf.newaxis, :, :]
    height = tf.minimum(a[..., 2], b[..., 2]) - tf.maximum(a[..., 0], b[..., 0])
    width = tf.minimum(a[..., 3], b[..., 3]) - tf.maximum(a[..., 1], b[..., 1])
    shared = exact_floats.rounded(
        tf.maximum(height, 0.0) * tf.maximum(width, 0.0)
    )
    both = compute_area(a) + compute_area(b)
    # The intersection is within each box, so that the union is not negative.
    return tf.math.divide_no_nan(shared, both - shared)


def clip(boxes: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Clips boxes to their images.

    Args:
        boxes: float32 [..., N, 4].
        size: int32 or float32 [..., 2], (height, width); leading axes as those
            of `boxes` without N.

    Returns:
        float32 [..., N, 4].
    """
    size = tf.cast(size, tf.float32)[..., tf.newaxis, :]
    limit = tf.concat([size, size], axis=-1)
    return tf.maximum(tf.minimum(boxes, limit), 0.0)


def encode(
    boxes: tf.Tensor, anchors: tf.Tensor, weights: Sequence[float]
) -> tf.Tensor:
    """Encodes boxes relative to anchors.

    R-CNN (arXiv:1311.2524), appendix C: shifts of the center in sides of the
    anchor, and logarithms of the ratio of the sides.

    Args:
        boxes: float32 [..., 4].
        anchors: float32 [..., 4].
        weights: Factors of (dy, dx, dh, dw).

    Returns:
        float32 [..., 4], (dy, dx, dh, dw).
    """
    center, size = _split(boxes)
    anchor_center, anchor_size = _split(anchors)
    size = tf.maximum(size, _SMALLEST_SIDE)
    anchor_size = tf.maximum(anchor_size, _SMALLEST_SIDE)
    shift = (center - anchor_center) / anchor_size
    scale = tf.math.log(size / anchor_size)
    return tf.concat([shift, scale], axis=-1) * tf.constant(
        list(weights), tf.float32
    )


def decode(
    codes: tf.Tensor, anchors: tf.Tensor, weights: Sequence[float]
) -> tf.Tensor:
    """Decodes boxes; the inverse of `encode`.

    Sides grow at most by the factor exp(MAX_LOG_SCALE). Codes that contain NaN
    give boxes of NaN.

    Args:
        codes: float [..., 4], (dy, dx, dh, dw).
        anchors: float32 [..., 4].
        weights: Factors of (dy, dx, dh, dw), as in `encode`.

    Returns:
        float32 [..., 4].
    """
    codes = tf.cast(codes, tf.float32)
    codes *= tf.constant([1.0 / weight for weight in weights], tf.float32)
    anchor_center, anchor_size = _split(anchors)
    shift = exact_floats.rounded(codes[..., :2] * anchor_size)
    center = anchor_center + shift
    scale = exact_floats.exp(tf.minimum(codes[..., 2:], MAX_LOG_SCALE))
    size = exact_floats.rounded(scale * anchor_size)
    boxes = tf.concat([center - 0.5 * size, center + 0.5 * size], axis=-1)
    has_nan = tf.reduce_any(tf.math.is_nan(codes), axis=-1, keepdims=True)
    return tf.where(has_nan, float("nan"), boxes)


def _split(boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns centers and sizes, [..., 2] each, (y, x)."""
    size = boxes[..., 2:] - boxes[..., :2]
    return exact_floats.rounded(boxes[..., :2] + 0.5 * size), size
