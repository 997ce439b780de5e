# SPDX-License-Identifier: Apache-2.0
"""Pictures of predictions, for TensorBoard and for files."""

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.results import original_size
from deeplab2_like.visualize import visualizer


def make_picture(
    image: original_size.RestoredImage,
    descriptor: descriptor_lib.DatasetDescriptor,
    *,
    has_label: bool = True,
) -> npt.NDArray[np.uint8]:
    """Draws image, ground truth, prediction and difference.

    For systems without instances the classes are drawn.

    Args:
        image: The restored image.
        descriptor: The data set, for classes and colors.
        has_label: Whether there is a ground truth; if not, the prediction is
            drawn over the image.

    Returns:
        uint8 [h, w, 3].
    """
    size = image.semantic.shape
    pixels = image.image
    if pixels.shape[:2] != size:
        pixels = tf.cast(tf.image.resize(pixels, size) + 0.5, tf.uint8).numpy()
    true, predicted = image.true_panoptic, image.panoptic
    if predicted is None:
        divisor = descriptor.label_divisor
        predicted = image.semantic * divisor
        true = true // divisor * divisor
    if not has_label:
        return visualizer.visualize(pixels, predicted, descriptor)
    return visualizer.visualize_comparison(pixels, true, predicted, descriptor)


def write_summary(picture_hw3: npt.NDArray[np.uint8], name: str) -> None:
    """Writes a picture as a summary of TensorBoard.

    Args:
        picture_hw3: uint8 [H, W, 3].
        name: Name of the picture, a part of its tag.
    """
    tf.summary.image(f"pictures/{name}", picture_hw3[None])
