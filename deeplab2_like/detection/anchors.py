# SPDX-License-Identifier: Apache-2.0
"""Anchors: the boxes that a region proposal network starts from."""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf


def make_anchors(
    map_size: Sequence[int | tf.Tensor],
    stride: int,
    sizes: Sequence[float],
    ratios: Sequence[float],
) -> tf.Tensor:
    """Makes the anchors of one feature map.

    Feature pyramid networks (arXiv:1612.03144), section 4.1. As in detectron2,
    the anchors of a pixel of the map are centered on its first pixel in the
    image, and those of all ratios of a size have equal areas.

    Args:
        map_size: Height and width of the map, integers or int32 scalars.
        stride: Pixels of the image from one pixel of the map to the next.
        sizes: Roots of the areas, in pixels of the image.
        ratios: Height / width.

    Returns:
        float32 [height * width * A, 4], A = len(sizes) * len(ratios), in
        raster order; those of a pixel in the order of sizes, then ratios.
    """
    cell = []
    for size in sizes:
        for ratio in ratios:
            half_width = 0.5 * size / math.sqrt(ratio)
            half_height = 0.5 * size * math.sqrt(ratio)
            cell.append([-half_height, -half_width, half_height, half_width])
    cell_a4 = tf.constant(np.array(cell, np.float32))
    y = tf.range(map_size[0]) * stride
    x = tf.range(map_size[1]) * stride
    y, x = tf.meshgrid(y, x, indexing="ij")
    center = tf.cast(tf.stack([y, x, y, x], axis=-1), tf.float32)
    return tf.reshape(center[:, :, tf.newaxis] + cell_a4, [-1, 4])
