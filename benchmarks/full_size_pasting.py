# SPDX-License-Identifier: Apache-2.0
"""The baseline of mask merging: each mask whole, at the size of the image.

As detectron2 does on GPUs (paste_masks_in_image, then
combine_semantic_and_instance_outputs): every mask is sampled at every pixel
of the image, and arrays of the size of the image are compared one after the
other. Used by benchmarks only.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf


class Masks(NamedTuple):
    """The K objects that were found in an image.

    Attributes:
        boxes: float32 [K, 4], (y1, x1, y2, x2) in pixels.
        category: int32 [K].
        score: float32 [K].
        masks: float32 [K, h, w] in 0..1, in the frames of the boxes.
    """

    boxes: npt.NDArray[np.float32]
    category: npt.NDArray[np.int32]
    score: npt.NDArray[np.float32]
    masks: npt.NDArray[np.float32]


def paste(found: Masks, size: tuple[int, int]) -> tf.Tensor:
    """Pastes all masks at the size of the image: bool [K, H, W]."""
    return tf.stack(
        [
            _sample(tf.constant(mask), box, size) >= 0.5
            for mask, box in zip(found.masks, found.boxes, strict=True)
        ]
    )


def _sample(
    mask: tf.Tensor, box: npt.NDArray[np.float32], size: tuple[int, int]
) -> tf.Tensor:
    """Interpolates a mask at each pixel, zeros around it: float32 [H, W]."""
    padded = tf.pad(mask, [[1, 1], [1, 1]])
    taps = []
    for axis, side in enumerate(mask.shape):
        center = np.arange(size[axis], dtype=np.float32) + 0.5
        extent = max(box[axis + 2] - box[axis], 1e-3)
        place = (center - box[axis]) / extent * side + 0.5
        place = np.clip(place, 0.0, side + 1.0)
        lower = np.minimum(np.floor(place), side)
        taps.append((lower.astype(np.int32), (place - lower)))
    (y, part_y), (x, part_x) = taps
    y, part_y = y[:, np.newaxis], part_y[:, np.newaxis]

    def read(shift_y: int, shift_x: int) -> tf.Tensor:
        place = (y + shift_y) * padded.shape[1] + x + shift_x
        return tf.gather(tf.reshape(padded, [-1]), place)

    upper = read(0, 0) * (1 - part_x) + read(0, 1) * part_x
    lower = read(1, 0) * (1 - part_x) + read(1, 1) * part_x
    return upper * (1 - part_y) + lower * part_y


def merge(
    logits: npt.NDArray[np.float32],
    found: Masks,
    size: tuple[int, int],
    channel_classes: tuple[int, ...],
    label_divisor: int,
    void_id: int,
    stuff_area_limit: int,
) -> npt.NDArray[np.int32]:
    """Merges masks and classes to a panoptic map: int32 [H, W].

    Args:
        logits: float32 [1, h, w, channels]; channel 0 is for all things.
        found: The objects.
        size: (H, W) of the image.
        channel_classes: Class of each channel.
        label_divisor: Panoptic id = class * label_divisor + instance.
        void_id: Panoptic id of pixels without a segment.
        stuff_area_limit: Area in pixels below which stuff becomes void.
    """
    resized = tf.compat.v1.image.resize_bilinear(
        logits, size, align_corners=True
    )
    channel = tf.argmax(resized[0], axis=-1).numpy()
    masks = paste(found, size).numpy()
    panoptic = np.full(size, void_id, np.int32)
    is_free = np.ones(size, bool)
    for number, index in enumerate(np.argsort(-found.score, kind="stable"), 1):
        if found.score[index] < 0.5:
            break
        mask = masks[index]
        area, free = mask.sum(), (mask & is_free).sum()
        if area == 0 or (area - free) / area > 0.5:
            continue
        mask = mask & is_free
        panoptic[mask] = found.category[index] * label_divisor + number
        is_free[mask] = False
    for place, category in enumerate(channel_classes[1:], 1):
        mask = (channel == place) & is_free
        if mask.sum() >= stuff_area_limit:
            panoptic[mask] = category * label_divisor
    return panoptic
