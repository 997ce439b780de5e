# SPDX-License-Identifier: Apache-2.0
"""Stochastic depth: a layer that drops branches, and its schedules."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from deeplab2_like.model.layers.dropout import draw_seed


def _constant(keep_prob: float, place: float) -> float:
    del place
    return keep_prob


def _linear(keep_prob: float, place: float) -> float:
    return 1.0 - (1.0 - keep_prob) * place


# Keep probability of a block: the given one for every block, or from 1 at place
# 0, the beginning of the network, to the given one at place 1, its end.
SCHEDULES: Mapping[str, Callable[[float, float], float]] = {
    "constant": _constant,
    "linear": _linear,
}


def scheduled_keep_prob(keep_prob: float, schedule: str, stride: int) -> float:
    """Returns the keep probability of a block.

    deeplab2: `drop_path.get_drop_path_keep_prob`.

    Args:
        keep_prob: Keep probability of the last stage, 0 < keep_prob <= 1.
        schedule: A key of `SCHEDULES`; stride 2 is at place 0, stride 32 at 1.
        stride: Stride of the block's input in the classification network, 2 to
            32.

    Raises:
        ValueError: There is no such schedule.
    """
    if schedule not in SCHEDULES:
        raise ValueError(
            f"drop_path_schedule is {schedule!r} - known are "
            f"{', '.join(SCHEDULES)}."
        )
    return SCHEDULES[schedule](keep_prob, (round(math.log2(stride)) - 1) / 4)


@keras.saving.register_keras_serializable("deeplab2_like")
class DropPath(keras.layers.Layer):
    """Sets whole samples to zero in training, and scales the others.

    Huang et al., ECCV 2016, arXiv:1603.09382; the kept samples are scaled by
    1 / keep_prob, so that inference needs no scale. As with `Dropout`, the
    state of the random generator has a name, and replicas draw differently.

    Args:
        keep_prob: Probability that a sample is kept, 0 < keep_prob <= 1.
        seed: See `Dropout`.
    """

    def __init__(
        self, keep_prob: float, *, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not 0.0 < keep_prob <= 1.0:
            raise ValueError(
                f"keep_prob is {keep_prob} - it must be in (0, 1]."
            )
        self.keep_prob = keep_prob
        self.seed = seed
        self.generator: keras.random.SeedGenerator | None = None

    def build(self, input_shape):
        """Makes the state of the generator."""
        del input_shape
        if self.keep_prob < 1.0:
            self.generator = keras.random.SeedGenerator(
                self.seed, name="generator"
            )

    def call(self, inputs, training=None):
        """Returns `inputs` [B, ...], in training with dropped samples."""
        if not training or self.generator is None:
            return inputs
        ones = tf.ones([inputs.shape.rank - 1], tf.int32)
        return tf.nn.experimental.stateless_dropout(
            inputs,
            1.0 - self.keep_prob,
            seed=draw_seed(self.generator),
            noise_shape=tf.concat([tf.shape(inputs)[:1], ones], 0),
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "keep_prob": self.keep_prob,
            "seed": self.seed,
        }
