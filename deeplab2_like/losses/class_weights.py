# SPDX-License-Identifier: Apache-2.0
"""Weights of classes in the semantic loss, against rare classes.

The formulas take counts of pixels and are NumPy only. A weight multiplies the
error of each pixel of its class; the number of pixels that a loss is divided by
stays the same.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf


def look_up(labels_bhw: tf.Tensor, class_weights: Sequence[float]) -> tf.Tensor:
    """Returns the weight of each pixel: float32 [B, H, W].

    Args:
        labels_bhw: int32 [B, H, W], 0..C-1.
        class_weights: C weights.
    """
    return tf.gather(tf.constant(class_weights, tf.float32), labels_bhw)


def compute_inverse_frequency(
    pixels_c: npt.NDArray[np.int64], largest: float = np.inf
) -> npt.NDArray[np.float64]:
    """Computes weights with which all classes count alike: float64 [C].

    The weight of a class is N / (K * n) for n pixels of it, N pixels of all
    classes and K classes that occur: pixels have the mean weight 1 (before
    `largest`), as class_weight="balanced" of scikit-learn has it.

    Args:
        pixels_c: int64 [C], pixels of each class.
        largest: Larger weights are reduced to it.

    Returns:
        float64 [C]; 1 for classes that do not occur.
    """
    is_present = pixels_c > 0
    total = pixels_c.sum() / max(1, is_present.sum())
    return _limit(total / np.maximum(pixels_c, 1), is_present, largest)


def compute_median_frequency(
    pixels_c: npt.NDArray[np.int64],
    image_pixels_c: npt.NDArray[np.int64],
    largest: float = np.inf,
) -> npt.NDArray[np.float64]:
    """Computes weights by median frequency balancing: float64 [C].

    Eigen and Fergus, ICCV 2015 (arXiv:1411.4734); used by SegNet too
    (arXiv:1511.00561). The frequency of a class is its number of pixels over
    that of the images in which it occurs. Its weight is the median of the
    frequencies of all classes that occur, over its own.

    Args:
        pixels_c: int64 [C], pixels of each class.
        image_pixels_c: int64 [C], pixels of the images in which it occurs.
        largest: Larger weights are reduced to it.

    Returns:
        float64 [C]; 1 for classes that do not occur.
    """
    is_present = pixels_c > 0
    frequency = pixels_c / np.maximum(image_pixels_c, 1)
    if not is_present.any():
        return np.ones(len(pixels_c))
    median = np.median(frequency[is_present])
    weight = median / np.where(is_present, frequency, 1.0)
    return _limit(weight, is_present, largest)


def _limit(
    weight_c: npt.NDArray[np.float64],
    is_present_c: npt.NDArray[np.bool_],
    largest: float,
) -> npt.NDArray[np.float64]:
    return np.where(is_present_c, np.minimum(weight_c, largest), 1.0)
