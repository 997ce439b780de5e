# SPDX-License-Identifier: Apache-2.0
"""Dropout whose random state has a name and differs between replicas."""

from typing import Any

import keras
import tensorflow as tf


def draw_seed(generator: keras.random.SeedGenerator) -> tf.Tensor:
    """Returns the next seed of a generator, another one in each replica.

    Returns:
        int32 [2], for stateless random operations.
    """
    seed = tf.cast(generator.next(), tf.int32)
    context = tf.distribute.get_replica_context()
    if context is not None:
        seed += tf.stack([context.replica_id_in_sync_group, 0])
    return seed


@keras.saving.register_keras_serializable("deeplab2_like")
class Dropout(keras.layers.Layer):
    """Sets a share of the values to zero in training, and scales the rest.

    Differs from `keras.layers.Dropout` in two ways. The state of its random
    generator is a variable below the layer's own path, so that a checkpoint
    restores it in every process. Replicas, which share that state, draw
    different masks.

    Args:
        rate: Share of the values that become zero, 0 <= rate < 1.
        seed: Seed of the generator; None: drawn from Python's generator, which
            `keras.utils.set_random_seed` sets.
    """

    def __init__(
        self, rate: float, *, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"rate is {rate} - it must be in [0, 1).")
        self.rate = rate
        self.seed = seed
        self.generator: keras.random.SeedGenerator | None = None

    def build(self, input_shape):
        """Makes the state of the generator."""
        del input_shape
        if self.rate > 0.0:
            self.generator = keras.random.SeedGenerator(
                self.seed, name="generator"
            )

    def call(self, inputs, training=None):
        """Returns `inputs`, in training with dropped values."""
        if not training or self.generator is None:
            return inputs
        return tf.nn.experimental.stateless_dropout(
            inputs, self.rate, seed=draw_seed(self.generator)
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {"rate": self.rate, "seed": self.seed}
