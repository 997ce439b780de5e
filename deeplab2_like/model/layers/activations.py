# SPDX-License-Identifier: Apache-2.0
"""Activations by the names that configs and layers give them."""

import functools
from collections.abc import Callable

import tensorflow as tf


def hard_sigmoid(x: tf.Tensor) -> tf.Tensor:
    """Returns relu6(x + 3) / 6, in 0..1 (arXiv:1905.02244, 5.2)."""
    return tf.nn.relu6(x + 3.0) * (1.0 / 6.0)


def hard_swish(x: tf.Tensor) -> tf.Tensor:
    """Returns x * relu6(x + 3) / 6 (MobileNetV3, arXiv:1905.02244, 5.2)."""
    return x * tf.nn.relu6(x + 3.0) * (1.0 / 6.0)


ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "none": tf.identity,
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    # The slope of in-place activated batch norm (arXiv:1712.02616).
    "leaky_relu": functools.partial(tf.nn.leaky_relu, alpha=0.01),
    "hard_swish": hard_swish,
    "swish": tf.nn.silu,
}


def activation_of(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the activation called `name`.

    Raises:
        ValueError: There is no such activation.
    """
    if name not in ACTIVATIONS:
        raise ValueError(
            f"activation is {name!r} - known are {', '.join(ACTIVATIONS)}."
        )
    return ACTIVATIONS[name]
