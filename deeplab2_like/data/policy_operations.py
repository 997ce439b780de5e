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
    levels = tf.range(_LEVELS)
    table = tf.where(levels < threshold, levels, 255 - levels)
    table = tf.cast(table, tf.uint8)
    return tf.gather(table, tf.cast(image_hw3, tf.int32))


def equalize(image_hw3: tf.Tensor) -> tf.Tensor:
    """Makes the values of each channel equally frequent."""
    channels = [_equalize_channel(c) for c in tf.unstack(image_hw3, 3, axis=2)]
    return tf.stack(channels, axis=2)


def _equalize_channel(channel_hw: tf.Tensor) -> tf.Tensor:
    levels = tf.cast(channel_hw, tf.int32)
    counts = tf.math.bincount(
        levels, minlength=_LEVELS, maxlength=_LEVELS, dtype=tf.int32
    )
    most = tf.reduce_max(levels)
    step = (tf.size(levels) - counts[most]) // (_LEVELS - 1)
    below = tf.cumsum(counts, exclusive=True)
    # Without a step the channel has one value, or nearly, and stays.
    equal = (below + step // 2) // tf.maximum(step, 1)
    table = tf.where(
        step > 0, tf.clip_by_value(equal, 0, 255), tf.range(_LEVELS)
    )
    return tf.gather(tf.cast(table, tf.uint8), levels)
