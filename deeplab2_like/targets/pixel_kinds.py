# SPDX-License-Identifier: Apache-2.0
"""Kinds of pixels, from which the weights of the losses follow.

An input pipeline makes one small number for a pixel; the device makes the
weights of it. All functions also run under XLA.
"""

import tensorflow as tf

from deeplab2_like.targets import label_runs

# In this order so that each weight is a comparison.
VOID = 0
CROWD = 1
STUFF = 2
STUFF_INSTANCE = 3
SMALL_STUFF_INSTANCE = 4
SMALL_THING = 5
THING = 6

_BITS = 3  # That a kind takes.
# Largest class that `encode` takes.
MAX_CLASS = label_runs.MAX_CODE // (1 << _BITS) - 1


def encode(classes: tf.Tensor, kinds: tf.Tensor) -> tf.Tensor:
    """Makes one number of class and kind.

    Args:
        classes: int32 of any shape, 0 to MAX_CLASS.
        kinds: int32 of that shape, the constants of this module.

    Returns:
        int32 of that shape, 0 to `label_runs.MAX_CODE`.
    """
    return tf.bitwise.bitwise_or(tf.bitwise.left_shift(classes, _BITS), kinds)


def decode(codes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the classes and kinds of the numbers of `encode`, int32."""
    return (
        tf.bitwise.right_shift(codes, _BITS),
        tf.bitwise.bitwise_and(codes, (1 << _BITS) - 1),
    )


def is_instance(kinds: tf.Tensor) -> tf.Tensor:
    """Returns whether pixels belong to a segment with a center, bool."""
    return kinds >= STUFF_INSTANCE


def compute_weights(
    kinds: tf.Tensor, small_instance_weight: tf.Tensor | float
) -> dict[str, tf.Tensor]:
    """Computes the loss weights of pixels from their kinds.

    deeplab2: PanopticSampleGenerator, which makes them on the host.

    Args:
        kinds: Integers of any shape, the constants of this module.
        small_instance_weight: Semantic weight of pixels of small instances,
            float32, of a shape that spreads over `kinds`.

    Returns:
        Of the shape of `kinds`:
        * is_crowd: bool.
        * semantic_weight: float32, small_instance_weight or 1.
        * center_weight: float32, 0 on crowd and void, else 1.
        * offset_weight: float32, 1 on things that are not crowd, else 0.
    """
    is_small = (kinds == SMALL_THING) | (kinds == SMALL_STUFF_INSTANCE)
    return {
        "is_crowd": kinds == CROWD,
        "semantic_weight": tf.where(is_small, small_instance_weight, 1.0),
        "center_weight": tf.cast(kinds >= STUFF, tf.float32),
        "offset_weight": tf.cast(kinds >= SMALL_THING, tf.float32),
    }
