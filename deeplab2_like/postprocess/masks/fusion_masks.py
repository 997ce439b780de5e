# SPDX-License-Identifier: Apache-2.0
"""Masks that are fused with class logits.

K masks; h, w: size of a mask.
"""

from typing import NamedTuple

import tensorflow as tf


class FusionMasks(NamedTuple):
    """Masks that compete for pixels.

    Attributes:
        logits: float32 [K, h, w].
        frames: float32 [K, 4], (y1, x1, y2, x2) in pixels, the rectangle that
            each mask fills.
        boxes: float32 [K, 4], (y1, x1, y2, x2) in pixels; pixels outside do
            not belong to the mask.
        channel: int32 [K], the channel of the class of each mask.
        score: float32 [K]; masks with minus infinity are never instances.
        reach: Most rows, or columns, of a mask that the pixels of a tile can
            read. If None, all.
    """

    logits: tf.Tensor
    frames: tf.Tensor
    boxes: tf.Tensor
    channel: tf.Tensor
    score: tf.Tensor
    reach: int | None = None
