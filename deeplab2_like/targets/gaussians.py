# SPDX-License-Identifier: Apache-2.0
"""Heat maps of centers, for tf.data on the host; sizes are dynamic."""

import numpy as np
import tensorflow as tf

# Gaussians that are drawn at once: bounds the memory, 10 MB at sigma 8.
_INSTANCES_PER_PASS = 256


def draw_gaussians(
    centers_k2: tf.Tensor, shape: tf.Tensor, sigma: float
) -> tf.Tensor:
    """Draws a Gaussian at each center, the largest value where they overlap.

    The support is a square of 2 * int(3 * sigma + 1) + 1 pixels a side.

    Args:
        centers_k2: int64 [K, 2], (y, x) within the image.
        shape: int32 [2], height and width.
        sigma: Standard deviation in pixels.

    Returns:
        float32 [N].
    """
    radius = int(3 * sigma + 1)
    axis = np.arange(-radius, radius + 1)
    squares = axis[:, None] ** 2 + axis[None, :] ** 2
    patch = np.exp(-squares / (2 * sigma**2)).astype(np.float32)
    height, width = tf.unstack(shape)
    num_pixels = height * width
    centers_k2 = tf.cast(centers_k2, tf.int32)
    num_centers = tf.shape(centers_k2)[0]

    def draw(first: tf.Tensor, drawn: tf.Tensor) -> tuple[tf.Tensor, ...]:
        part = centers_k2[first : first + _INSTANCES_PER_PASS]
        y = part[:, 0, tf.newaxis, tf.newaxis] + axis[:, None]
        x = part[:, 1, tf.newaxis, tf.newaxis] + axis[None, :]
        is_inside = ((y >= 0) & (y < height)) & ((x >= 0) & (x < width))
        # The segment maximum skips negative places.
        place = tf.where(is_inside, y * width + x, -1)
        values = tf.broadcast_to(patch, tf.shape(place))
        peaks = tf.math.unsorted_segment_max(
            tf.reshape(values, [-1]), tf.reshape(place, [-1]), num_pixels
        )
        return first + _INSTANCES_PER_PASS, tf.maximum(drawn, peaks)

    _, heatmap = tf.while_loop(
        lambda first, _: first < num_centers,
        draw,
        (0, tf.zeros([num_pixels], tf.float32)),
        parallel_iterations=1,
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None])),
    )
    return heatmap
