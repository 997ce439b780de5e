# SPDX-License-Identifier: Apache-2.0
"""Learning rates as functions of the step."""

import math

import keras
import tensorflow as tf

from deeplab2_like import errors

POLICIES = ("poly", "cosine")


@keras.saving.register_keras_serializable(package="deeplab2_like")
class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """A decaying learning rate with a linear warm-up.

    While `step < warmup_steps` the rate is `base * step / warmup_steps`, so
    step 0 changes nothing; afterwards it is the decay at that step, which the
    warm-up does not shift (as in deeplab2). The rate stays at its end value
    after `total_steps`.

    - poly: `end + (base - end) * (1 - step / total) ** power`
    - cosine: `base * (1 + cos(pi * step / total)) / 2`
    """

    def __init__(
        self,
        base_learning_rate: float,
        total_steps: int,
        *,
        policy: str = "poly",
        power: float = 0.9,
        end_learning_rate: float = 0.0,
        warmup_steps: int = 0,
        name: str = "learning_rate",
    ):
        """Creates the schedule.

        Args:
            base_learning_rate: The rate at step 0 of the decay.
            total_steps: The step at which the decay ends, at least 1.
            policy: "poly" or "cosine".
            power: Exponent of "poly".
            end_learning_rate: Last rate of "poly".
            warmup_steps: Number of steps of the warm-up; 0 for none.
            name: Name of the operations.

        Raises:
            ConfigError: The policy is unknown.
        """
        super().__init__()
        if policy not in POLICIES:
            raise errors.ConfigError(
                f"learning_policy is {policy!r}; choose one of "
                f"{', '.join(POLICIES)}."
            )
        self.base_learning_rate = base_learning_rate
        self.total_steps = total_steps
        self.policy = policy
        self.power = power
        self.end_learning_rate = end_learning_rate
        self.warmup_steps = warmup_steps
        self.name = name

    def __call__(self, step) -> tf.Tensor:
        """Returns the rate at `step` (integer scalar) as a float32 scalar."""
        with tf.name_scope(self.name):
            step = tf.cast(step, tf.float32)
            total = float(self.total_steps)
            progress = tf.minimum(step, total) / total
            base, end = self.base_learning_rate, self.end_learning_rate
            if self.policy == "poly":
                rate = (base - end) * tf.pow(1.0 - progress, self.power) + end
            else:
                rate = base * 0.5 * (1.0 + tf.cos(math.pi * progress))
            if self.warmup_steps:
                warmup = base * step / float(self.warmup_steps)
                rate = tf.where(step < self.warmup_steps, warmup, rate)
            return rate

    def get_config(self) -> dict:
        """Returns the arguments that build an equal schedule."""
        return {
            "base_learning_rate": self.base_learning_rate,
            "total_steps": self.total_steps,
            "policy": self.policy,
            "power": self.power,
            "end_learning_rate": self.end_learning_rate,
            "warmup_steps": self.warmup_steps,
            "name": self.name,
        }
