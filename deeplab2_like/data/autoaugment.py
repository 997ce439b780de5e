# SPDX-License-Identifier: Apache-2.0
"""The AutoAugment policies that configs of deeplab2 name.

Cubuk et al., "AutoAugment: Learning Augmentation Policies from Data" (CVPR
2019, arXiv:1805.09501): a policy is a list of pairs of operations. One pair is
drawn for an image, and each of its operations is done with its probability.

`load_policy` returns a policy by its name, `apply` draws a pair and does it.
deeplab2 (`autoaugment_policy`) has two policies, of the same five pairs; the
name of the second says by what all magnitudes are multiplied. Each operation
changes colors only: none moves pixels or labels.
"""

import dataclasses
import re
from collections.abc import Callable

import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.data import policy_operations

NUM_DRAWS = 3  # Uniform random numbers that one image uses.
_LARGEST_MAGNITUDE = 10

# Name, probability, magnitude.
_SIMPLE = (
    (("Sharpness", 0.4, 7), ("Brightness", 0.2, 10)),
    (("Equalize", 0.0, 9), ("Contrast", 0.2, 10)),
    (("Sharpness", 0.2, 9), ("Color", 0.2, 9)),
    (("Solarize", 0.2, 7), ("Equalize", 0.6, 9)),
    (("Sharpness", 0.2, 1), ("Equalize", 0.2, 7)),
)
_NAME = r"simple_classification_policy(?:_magnitude_scale_(\d+(?:\.\d+)?))?"

Change = Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Operation:
    """One change of colors.

    Attributes:
        name: Its name in deeplab2.
        probability: How often it is done; 0..1.
        magnitude: Its strength; 0..10 without a scale.
    """

    name: str
    probability: float
    magnitude: float

    def make_change(self) -> Change:
        """Returns the function from uint8 [H, W, 3] to the same."""
        strength = self.magnitude / _LARGEST_MAGNITUDE
        factor = 0.1 + 1.8 * strength
        threshold = int(strength * 256)
        changes: dict[str, Change] = {
            "Brightness": lambda image: policy_operations.change_brightness(
                image, factor
            ),
            "Color": lambda image: policy_operations.change_color(
                image, factor
            ),
            "Contrast": lambda image: policy_operations.change_contrast(
                image, factor
            ),
            "Equalize": policy_operations.equalize,
            "Sharpness": lambda image: policy_operations.sharpen(image, factor),
            "Solarize": lambda image: policy_operations.solarize(
                image, threshold
            ),
        }
        return changes[self.name]


Policy = tuple[tuple[Operation, Operation], ...]


def load_policy(name: str) -> Policy:
    """Returns the pairs of a policy.

    Args:
        name: "simple_classification_policy", also followed by
            "_magnitude_scale_" and a number such as 0.2.

    Raises:
        errors.ConfigError: There is no such policy.
    """
    matched = re.fullmatch(_NAME, name)
    if matched is None:
        raise errors.ConfigError(
            f"autoaugment_policy_name is {name!r}, which is no policy. Take "
            "simple_classification_policy_magnitude_scale_0.2, or remove it."
        )
    scale = float(matched.group(1) or 1)
    first_second = (
        tuple(Operation(n, p, m * scale) for n, p, m in pair)
        for pair in _SIMPLE
    )
    return tuple((first, second) for first, second in first_second)


def apply(
    image_hw3: tf.Tensor,
    scaled_size: tf.Tensor,
    uniform_3: tf.Tensor,
    policy: Policy,
) -> tf.Tensor:
    """Does the operations that are drawn, on the whole scaled image.

    As in deeplab2 they see the image after its random scale and before the
    crop, in whole numbers.

    Args:
        image_hw3: uint8 [h, w, 3], RGB.
        scaled_size: int32 [2], size of the whole image after scaling.
        uniform_3: float32 [3] in [0, 1), draws the pair and its operations.
        policy: Result of `load_policy`.

    Returns:
        uint8 [h', w', 3] with the scaled size, changed; or the image itself,
        not scaled, where no operation was drawn.
    """
    index = tf.cast(uniform_3[0] * len(policy), tf.int32)
    chances = [[op.probability for op in pair] for pair in policy]
    is_done_2 = uniform_3[1:] < tf.gather(tf.constant(chances), index)

    def change() -> tf.Tensor:
        scaled = tf.raw_ops.ResizeBilinear(
            images=image_hw3[tf.newaxis], size=scaled_size, align_corners=True
        )
        image = tf.cast(scaled[0], tf.uint8)
        return tf.switch_case(
            index,
            [
                lambda pair=pair: _apply_pair(image, is_done_2, pair)
                for pair in policy
            ],
        )

    changed = tf.cond(tf.reduce_any(is_done_2), change, lambda: image_hw3)
    return tf.ensure_shape(changed, [None, None, 3])


def _apply_pair(
    image_hw3: tf.Tensor,
    is_done_2: tf.Tensor,
    pair: tuple[Operation, Operation],
) -> tf.Tensor:
    """Does each of two operations if it is to be done."""
    for number, operation in enumerate(pair):
        if not operation.probability:
            continue
        change = operation.make_change()
        image_hw3 = tf.cond(
            is_done_2[number],
            lambda image=image_hw3, change=change: change(image),
            lambda image=image_hw3: image,
        )
    return image_hw3
