# SPDX-License-Identifier: Apache-2.0
"""Bilinear resizing whose corner pixels stay where they are."""

import tensorflow as tf


def resize_align_corners(x_bhwc: tf.Tensor, size) -> tf.Tensor:
    """Gives `x_bhwc` at another size, bilinearly, corners on corners.

    Args:
        x_bhwc: float [B, h, w, C].
        size: (height, width), Python numbers or int32 scalars.

    Returns:
        The dtype of `x_bhwc` [B, height, width, C].
    """
    y = tf.raw_ops.ResizeBilinear(
        images=x_bhwc, size=tf.stack(size), align_corners=True
    )
    return tf.cast(y, x_bhwc.dtype)


def spatial_size(x_bhwc: tf.Tensor):
    """Gives (height, width): Python numbers where known, else a tensor."""
    height, width = x_bhwc.shape[1:3]
    if height is None or width is None:
        return tf.shape(x_bhwc)[1:3]
    return height, width
