# SPDX-License-Identifier: Apache-2.0
"""Outputs of the models: their names, and their resizing."""

import enum
from collections.abc import Mapping

import tensorflow as tf

from deeplab2_like.model.layers.resize import resize_align_corners


class Output(enum.StrEnum):
    """Keys of the dictionary that a model returns.

    At head resolution, always float32:
        SEMANTIC_LOGITS: [B, h, w, classes].
        CENTER_HEATMAP: [B, h, w, 1].
        OFFSET_MAP: [B, h, w, 2], (dy, dx) from a pixel to the center of its
            instance, in pixels of the head resolution. deeplab2 calls this
            "regression".
    Only where several views of an image are averaged (`multi_scale`), and then
    everything is at the size of the images:
        SEMANTIC_PROBS: [B, H, W, classes], the mean of the views' softmax.
    """

    SEMANTIC_LOGITS = "semantic_logits"
    CENTER_HEATMAP = "center_heatmap"
    OFFSET_MAP = "offset_map"
    SEMANTIC_PROBS = "semantic_probs"


def resize_outputs(
    outputs: Mapping[str, tf.Tensor], size
) -> dict[str, tf.Tensor]:
    """Returns the outputs of a model at another size, bilinearly.

    Corner pixels stay on corner pixels (align corners), as in deeplab2.

    Args:
        outputs: Outputs of a model (`Output`); absent ones stay absent.
        size: (height, width), Python numbers or int32 scalars.

    Returns:
        float32: semantic_logits [B, height, width, classes], center_heatmap
        [B, height, width], offset_map [B, height, width, 2] in pixels of the
        new size.
    """
    resized = {
        str(key): resize_align_corners(value, size)
        for key, value in outputs.items()
    }
    if Output.CENTER_HEATMAP in resized:
        heatmap = resized[Output.CENTER_HEATMAP.value]
        resized[Output.CENTER_HEATMAP.value] = tf.squeeze(heatmap, axis=3)
    if Output.OFFSET_MAP in resized:
        before = tf.shape(outputs[Output.OFFSET_MAP])[1:3]
        scale = offset_scale(before, size)
        resized[Output.OFFSET_MAP.value] *= scale
    return resized


def offset_scale(size_before, size_after) -> tf.Tensor:
    """Returns the factors (y, x) by which resizing stretches offsets.

    Args:
        size_before: (height, width) of the map.
        size_after: (height, width) after resizing.

    Returns:
        float32 [2], (size_after - 1) / (size_before - 1): the ratio of pixel
        distances when corners stay on corners; 1 where a side has one pixel.
    """
    before = tf.cast(tf.stack(size_before), tf.float32) - 1.0
    after = tf.cast(tf.stack(size_after), tf.float32) - 1.0
    return tf.where(before > 0.0, after / tf.maximum(before, 1.0), 1.0)
