# SPDX-License-Identifier: Apache-2.0
"""Random brightness, contrast, saturation and hue of training images.

`ColorJitter` contains the strengths, `change_colors` applies them, and
`turn_gray` takes the colors of some images away. Factors and
steps are those of torchvision's `ColorJitter`, which SimCLR (Chen et al., ICML
2020, arXiv:2002.05709, appendix A) uses too. Differences: the order is fixed,
where these draw it, and values are not rounded between the steps.
"""

import dataclasses

import tensorflow as tf

NUM_DRAWS = 4  # Uniform random numbers that one image uses.
_LARGEST = 255.0
_GRAY_WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in Pillow.


@dataclasses.dataclass(frozen=True)
class ColorJitter:
    """How much colors change at most; 0 leaves them as they are.

    Attributes:
        brightness: Values are multiplied by a factor in 1 -+ this; 0..1.
        contrast: Distances to the mean grey of the image are; 0..1.
        saturation: Distances to the grey of the pixel are; 0..1.
        hue: Turns of the circle of hues, at most half a one; 0..0.5.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    @property
    def is_active(self) -> bool:
        """Whether any color changes."""
        return any(dataclasses.astuple(self))


def _draw_factor(uniform: tf.Tensor, strength: float) -> tf.Tensor:
    return 1.0 + strength * (2.0 * uniform - 1.0)


def _clip(image: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(image, 0.0, _LARGEST)


def _blend(
    image: tf.Tensor, other: tf.Tensor, image_weight: tf.Tensor
) -> tf.Tensor:
    return _clip(other + (image - other) * image_weight)


def _compute_gray(image_hwc: tf.Tensor) -> tf.Tensor:
    """Computes float32 [H, W, 1]."""
    red, green, blue = (
        image_hwc[..., channel : channel + 1] * weight
        for channel, weight in enumerate(_GRAY_WEIGHTS)
    )
    return red + green + blue


def _compute_mean_gray(image_hwc: tf.Tensor) -> tf.Tensor:
    """Computes the mean of the rounded grey, as in Pillow.

    A sum of integers is the same in any order, so with any number of threads.
    """
    gray = tf.cast(tf.round(_compute_gray(image_hwc)), tf.int64)
    mean = tf.reduce_sum(gray) / tf.size(gray, out_type=tf.int64)
    return tf.cast(mean, tf.float32)


def change_colors(
    image_hwc: tf.Tensor, uniform_4: tf.Tensor, jitter: ColorJitter
) -> tf.Tensor:
    """Changes brightness, contrast, saturation and hue, in this order.

    A step of strength 0 is left out. Values are limited to 0..255 after each
    step. Images without colors get none.

    Args:
        image_hwc: uint8 or float32 [H, W, 3], RGB in 0..255.
        uniform_4: float32 [4] in [0, 1), the random draws of the four steps.
        jitter: Strengths.

    Returns:
        float32 [H, W, 3] in 0..255.
    """
    image = tf.cast(image_hwc, tf.float32)
    if jitter.brightness:
        image = _clip(image * _draw_factor(uniform_4[0], jitter.brightness))
    if jitter.contrast:
        factor = _draw_factor(uniform_4[1], jitter.contrast)
        image = _blend(image, _compute_mean_gray(image), factor)
    if jitter.saturation:
        factor = _draw_factor(uniform_4[2], jitter.saturation)
        image = _blend(image, _compute_gray(image), factor)
    if jitter.hue:
        turn = jitter.hue * (2.0 * uniform_4[3] - 1.0)
        image = _clip(tf.image.adjust_hue(image, turn))
    return image


def turn_gray(
    image_hwc: tf.Tensor, uniform: tf.Tensor, probability: float
) -> tf.Tensor:
    """Takes the colors away, or not.

    Args:
        image_hwc: float32 [H, W, 3], RGB in 0..255.
        uniform: float32 scalar in [0, 1).
        probability: Share of the images that turn grey; 0..1.

    Returns:
        float32 [H, W, 3] in 0..255.
    """
    return tf.cond(
        uniform < probability,
        lambda: tf.repeat(_clip(_compute_gray(image_hwc)), 3, axis=2),
        lambda: image_hwc,
    )
