# SPDX-License-Identifier: Apache-2.0
"""Outputs of instance branches: objects of Mask R-CNN, cells of SOLOv2.

B images; D objects that there can be; G cells of all grids; T thing classes.
"""

from typing import NamedTuple

import tensorflow as tf


class Objects(NamedTuple):
    """Objects of an instance branch; NumPy arrays or tensors.

    Attributes:
        boxes: float32 [B, D, 4], (y1, x1, y2, x2) in pixels of the canvas.
        category: int32 [B, D], class of each object, a thing.
        score: float32 [B, D].
        is_valid: bool [B, D]; the place holds an object.
        masks: float32 [B, D, m, m], in the frames of the boxes: probabilities
            in 0..1 for Panoptic FPN, logits for EfficientPS.
    """

    boxes: tf.Tensor
    category: tf.Tensor
    score: tf.Tensor
    is_valid: tf.Tensor
    masks: tf.Tensor

    def as_tensors(self) -> "Objects":
        """Returns the objects as tensors of these types."""
        return Objects(
            tf.cast(self.boxes, tf.float32),
            tf.cast(self.category, tf.int32),
            tf.cast(self.score, tf.float32),
            tf.cast(self.is_valid, tf.bool),
            tf.cast(self.masks, tf.float32),
        )


class Cells(NamedTuple):
    """Outputs of the head of SOLOv2; NumPy arrays or tensors.

    Attributes:
        logits: float [B, G, T], of the thing classes in their order.
        kernels: float [B, G, E].
        features: float [B, h, w, E], at stride 4.
    """

    logits: tf.Tensor
    kernels: tf.Tensor
    features: tf.Tensor

    def as_tensors(self) -> "Cells":
        """Returns the cells as float32 tensors."""
        return Cells(*(tf.cast(x, tf.float32) for x in self))
