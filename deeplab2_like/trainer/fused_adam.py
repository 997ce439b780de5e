# SPDX-License-Identifier: Apache-2.0
"""Adam and AdamW with one operation for each variable.

Keras computes the step by many operations, which read and write each weight
and its moments about ten times; TensorFlow's own operation does so once. The
formula, the variables and their names are those of Keras; rounding differs.

Keras has no public names for the moments of a variable. Where those that are
used here are gone, its own step is taken.
"""

import functools
import inspect
from typing import Any

import keras
import tensorflow as tf
from absl import logging

_PARAMETERS = ["gradient", "variable", "learning_rate"]
_MOMENTS = ("_momentums", "_velocities")


class OneOperationStep:
    """The step of `keras.optimizers.Adam` as one operation."""

    def update_step(self: Any, *arguments: Any, **options: Any) -> None:
        """Updates one variable; see `keras.optimizers.Adam.update_step`."""
        keras_step = super().update_step  # type: ignore[misc]
        missing = _find_missing(self, keras_step)
        if missing or self.amsgrad:
            if missing:
                _warn(missing)
            keras_step(*arguments, **options)
        else:
            self._take_step(*arguments, **options)

    def _take_step(
        self: Any,
        gradient: tf.Tensor,
        variable: tf.Variable | keras.Variable,
        learning_rate: tf.Tensor,
    ) -> None:
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


class FusedAdam(OneOperationStep, keras.optimizers.Adam):
    """`keras.optimizers.Adam`; with amsgrad its step is that of Keras."""


class FusedAdamW(OneOperationStep, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW`; with amsgrad its step is that of Keras."""


def _find_missing(optimizer: Any, keras_step: Any) -> str:
    """Returns what Keras lacks of that which the step uses; "" for nothing."""
    names = list(inspect.signature(keras_step).parameters)
    if names != _PARAMETERS:
        return f"`update_step({', '.join(_PARAMETERS)})`"
    if not callable(getattr(optimizer, "_get_variable_index", None)):
        return "`_get_variable_index`"
    for name in _MOMENTS:
        moments = getattr(optimizer, name, None)
        if not isinstance(moments, list) or not all(
            isinstance(_raw(moment), tf.Variable) for moment in moments[:1]
        ):
            return f"`{name}`"
    return ""


@functools.cache
def _warn(missing: str) -> None:
    """Warns, once a process."""
    logging.warning(
        "The optimizers of Keras %s have no %s, which the fast step of Adam "
        "uses. Keras' own step is taken: the results are the same, a step "
        "takes longer. A newer deeplab2-like may know this Keras.",
        keras.__version__,
        missing,
    )


def _raw(variable: tf.Variable | keras.Variable) -> tf.Variable:
    return variable.value if isinstance(variable, keras.Variable) else variable
