# SPDX-License-Identifier: Apache-2.0
"""Adam and AdamW with one operation for each variable.

Keras computes the step by many operations, which read and write each weight
and its moments about ten times; TensorFlow's own operation does so once. The
formula, the variables and their names are those of Keras; rounding differs.
"""

from typing import Any

import keras
import tensorflow as tf


class _OneOperationStep:
    """The step of `keras.optimizers.Adam` as one operation."""

    def update_step(
        self: Any,
        gradient: tf.Tensor,
        variable: tf.Variable | keras.Variable,
        learning_rate: tf.Tensor,
    ) -> None:
        """Updates one variable."""
        index = self._get_variable_index(variable)
        dtype = variable.dtype
        count = tf.cast(self.iterations + 1, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=_raw(variable).handle,
            m=_raw(self._momentums[index]).handle,
            v=_raw(self._velocities[index]).handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, dtype), count),
            beta2_power=tf.pow(tf.cast(self.beta_2, dtype), count),
            lr=tf.cast(learning_rate, dtype),
            beta1=tf.cast(self.beta_1, dtype),
            beta2=tf.cast(self.beta_2, dtype),
            epsilon=tf.cast(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
        )


class FusedAdam(_OneOperationStep, keras.optimizers.Adam):
    """`keras.optimizers.Adam` without amsgrad."""


class FusedAdamW(_OneOperationStep, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW` without amsgrad."""


def _raw(variable: tf.Variable | keras.Variable) -> tf.Variable:
    return variable.value if isinstance(variable, keras.Variable) else variable
