# SPDX-License-Identifier: Apache-2.0
"""Pictures of predictions for TensorBoard."""

import tensorflow as tf

from deeplab2_like import restoring, visualize
from deeplab2_like.data import descriptor as descriptor_lib


def write(
    image: restoring.RestoredImage,
    descriptor: descriptor_lib.DatasetDescriptor,
    index: int,
) -> None:
    """Writes image, truth, prediction and difference as one summary.

    Args:
        image: The restored image.
        descriptor: Classes and colours.
        index: Number of the picture, a part of its tag.
    """
    if image.panoptic is None:
        return
    size = image.true_panoptic.shape
    pixels = image.image
    if pixels.shape[:2] != size:
        pixels = tf.cast(tf.image.resize(pixels, size) + 0.5, tf.uint8).numpy()
    picture = visualize.visualize_comparison(
        pixels, image.true_panoptic, image.panoptic, descriptor
    )
    tf.summary.image(f"pictures/{index:02d}", picture[None])
