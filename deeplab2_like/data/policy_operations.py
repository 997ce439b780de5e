# SPDX-License-Identifier: Apache-2.0
"""Changes of colors that the AutoAugment policies are made of.

Names and formulas are those of deeplab2 (`autoaugment_utils`), which follows
Pillow's `ImageEnhance` and `ImageOps`; a difference from Pillow is said where
there is one. All take and return uint8 [H, W, 3], RGB, and are the same with
any number of threads. None moves a pixel, so that labels stay as they are.
"""

import tensorflow as tf

_LEVELS = 256
_LARGEST = 255.0
# Pillow's smoothing filter: 1 for each of 3 x 3 pixels, 5 for the middle one.
_EXTRA_IN_THE_MIDDLE = 4.0
_SUM_OF_WEIGHTS = 13.0


def _blend(image: tf.Tensor, other: tf.Tensor, factor: float) -> tf.Tensor:
    """Returns other + factor * (image - other), cut off to 0..255, as uint8.

    Args:
        image: uint8.
        other: float32 of whole numbers, which broadcasts with `image`.
        factor: 0: `other`; 1: `image`; above 1: the other direction.
    """
    if factor == 1:
        return image
    blended = other + factor * (tf.cast(image, tf.float32) - other)
    return tf.cast(tf.clip_by_value(blended, 0.0, _LARGEST), tf.uint8)


def change_brightness(image_hw3: tf.Tensor, factor: float) -> tf.Tensor:
    """Multiplies values by a factor."""
    return _blend(image_hw3, tf.zeros([]), factor)


def change_color(image_hw3: tf.Tensor, factor: float) -> tf.Tensor:
    """Multiplies distances to the grey of the pixel by a factor."""
    gray = tf.image.rgb_to_grayscale(image_hw3)
    return _blend(image_hw3, tf.cast(gray, tf.float32), factor)


def change_contrast(image_hw3: tf.Tensor, factor: float) -> tf.Tensor:
    """Multiplies distances to a level by a factor.

    In Pillow the level is the mean grey of the image. deeplab2 divides the
    number of pixels by 256 instead: images of 65280 pixels and more, so nearly
    all, have the level 255. Its policies were used with that, so it is so here:
    a factor below 1 makes images paler, one above 1 darker.
    """
    pixels = tf.size(image_hw3[..., 0]) // _LEVELS
    level = tf.minimum(tf.cast(pixels, tf.float32), _LARGEST)
    return _blend(image_hw3, level, factor)


def sharpen(image_hw3: tf.Tensor, factor: float) -> tf.Tensor:
    """Multiplies distances to the smoothed image by a factor.

    The pixels at the border stay as they are. The smoothed image is rounded
    down, where Pillow rounds to the nearest.
    """

    def blend() -> tf.Tensor:
        image = tf.cast(image_hw3, tf.float32)
        rows = image[:-2] + image[1:-1] + image[2:]
        total = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
        total += _EXTRA_IN_THE_MIDDLE * image[1:-1, 1:-1]
        inner = _blend(
            image_hw3[1:-1, 1:-1], tf.floor(total / _SUM_OF_WEIGHTS), factor
        )
        middle = [image_hw3[1:-1, :1], inner, image_hw3[1:-1, -1:]]
        middle = tf.concat(middle, axis=1)
        return tf.concat([image_hw3[:1], middle, image_hw3[-1:]], axis=0)

    size = tf.shape(image_hw3)[:2]
    return tf.cond(tf.reduce_min(size) < 3, lambda: image_hw3, blend)


def solarize(image_hw3: tf.Tensor, threshold: int) -> tf.Tensor:
    """Inverts the values from a threshold on."""
    if threshold >= _LEVELS:
        return image_hw3
    is_below = image_hw3 < tf.constant(threshold, tf.uint8)
    return tf.where(is_below, image_hw3, 255 - image_hw3)


def equalize(image_hw3: tf.Tensor) -> tf.Tensor:
    """Makes the values of each channel equally frequent."""
    # The channels are counted and looked up together, one behind the other.
    levels = tf.cast(image_hw3, tf.int32)
    levels += tf.range(3) * _LEVELS
    counts = tf.math.bincount(
        levels, minlength=3 * _LEVELS, maxlength=3 * _LEVELS, dtype=tf.int32
    )
    counts_3l = tf.reshape(counts, [3, _LEVELS])
    index_l = tf.range(_LEVELS)
    most_3 = tf.reduce_max(tf.where(counts_3l > 0, index_l, 0), axis=1)
    last_3 = tf.gather(counts_3l, most_3, axis=1, batch_dims=1)
    step_31 = (tf.reduce_sum(counts_3l, axis=1) - last_3) // (_LEVELS - 1)
    step_31 = step_31[:, tf.newaxis]
    below_3l = tf.cumsum(counts_3l, axis=1, exclusive=True)
    # Without a step the channel has one value, or nearly, and stays.
    equal_3l = (below_3l + step_31 // 2) // tf.maximum(step_31, 1)
    equal_3l = tf.clip_by_value(equal_3l, 0, _LEVELS - 1)
    table_3l = tf.where(step_31 > 0, equal_3l, index_l)
    table = tf.reshape(tf.cast(table_3l, tf.uint8), [-1])
    return tf.gather(table, levels)
