# SPDX-License-Identifier: Apache-2.0
"""Kinds of pixels, from which the weights of the losses follow.

An input pipeline makes one small number for a pixel; the device makes the
weights of it. All functions also run under XLA.
"""

import tensorflow as tf

# In this order so that each weight is a comparison.
VOID = 0
CROWD = 1
STUFF = 2
STUFF_INSTANCE = 3
SMALL_STUFF_INSTANCE = 4
SMALL_THING = 5
THING = 6

# Bits that a kind takes.
BITS = 3


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
