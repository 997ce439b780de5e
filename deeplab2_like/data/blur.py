# SPDX-License-Identifier: Apache-2.0
"""Random Gaussian blur of training images.

As in SimCLR (Chen et al., ICML 2020, arXiv:2002.05709, appendix A), which blurs
half of the images with a sigma drawn evenly from 0.1 to 2. Difference: at the
border the weights are those of the pixels that exist.
"""

import dataclasses
import math

import tensorflow as tf

NUM_DRAWS = 2  # Uniform random numbers that one image uses.
_LARGEST = 255.0
_REACH = 3.0  # Radius of the filter, in units of the largest sigma.


@dataclasses.dataclass(frozen=True)
class Blur:
    """How images are blurred.

    Attributes:
        probability: Share of the images that are; 0..1.
        min_sigma: Smallest standard deviation, in pixels; > 0.
        max_sigma: Largest one.
    """

    probability: float = 0.0
    min_sigma: float = 0.1
    max_sigma: float = 2.0

    @property
    def is_active(self) -> bool:
        """Whether any image is blurred."""
        return self.probability > 0


def draw_sigma(uniform: tf.Tensor, blur: Blur) -> tf.Tensor:
    """Draws a standard deviation evenly: float32 scalar, pixels."""
    return blur.min_sigma + (blur.max_sigma - blur.min_sigma) * uniform


def blur_image(
    image_hw3: tf.Tensor, sigma: tf.Tensor, max_sigma: float
) -> tf.Tensor:
    """Blurs an image by a Gaussian, along its height and then its width.

    `keras.ops.image.gaussian_blur` has the same weights in two dimensions at
    once, which takes three times as long, and darkens the border.

    Args:
        image_hw3: float32 [H, W, 3] in 0..255.
        sigma: float32 scalar, standard deviation in pixels, > 0.
        max_sigma: The largest sigma; weights beyond three of it are 0.

    Returns:
        float32 [H, W, 3] in 0..255.
    """
    reach = math.ceil(_REACH * max_sigma)
    distance = tf.range(-reach, reach + 1, dtype=tf.float32) / sigma
    weights = tf.exp(-0.5 * distance**2)
    shape = tf.shape(image_hw3)
    blurred = image_hw3[tf.newaxis]
    totals = []
    for axis in (0, 1):
        kernel_shape = [1, 1, 1, 1]
        kernel_shape[axis] = 2 * reach + 1
        kernel = tf.reshape(weights, kernel_shape)
        blurred = tf.nn.depthwise_conv2d(
            blurred, tf.tile(kernel, [1, 1, 3, 1]), [1, 1, 1, 1], "SAME"
        )
        ones_shape = [1, 1, 1, 1]
        ones_shape[axis + 1] = shape[axis]
        totals.append(
            tf.nn.depthwise_conv2d(
                tf.ones(ones_shape), kernel, [1, 1, 1, 1], "SAME"
            )
        )
    blurred = blurred[0] / (totals[0] * totals[1])[0]
    return tf.minimum(blurred, _LARGEST)


def blur_at_random(
    image_hw3: tf.Tensor, uniform_2: tf.Tensor, blur: Blur
) -> tf.Tensor:
    """Blurs an image, or not.

    Args:
        image_hw3: float32 [H, W, 3] in 0..255.
        uniform_2: float32 [2] in [0, 1): whether to blur, how much.
        blur: Options.

    Returns:
        float32 [H, W, 3] in 0..255.
    """
    return tf.cond(
        uniform_2[0] < blur.probability,
        lambda: blur_image(
            image_hw3, draw_sigma(uniform_2[1], blur), blur.max_sigma
        ),
        lambda: image_hw3,
    )
