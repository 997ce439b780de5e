# SPDX-License-Identifier: Apache-2.0
"""Weights stored in 16 bits, and computed with in float32.

The graph converts them each time it runs. Matrices and kernels are stored so,
which are nearly all of the weights; vectors, such as biases and the statistics
of batch norms, which have values of many magnitudes, stay in float32.
"""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from deeplab2_like import errors

FLOAT32 = "float32"
DTYPES = (FLOAT32, "bfloat16", "float16")


class StoredWeights:
    """The variables of a model as an export stores them.

    Attributes:
        variables: The variables to store, those of the model or shorter ones.
    """

    def __init__(self, model: keras.Model, dtype: str):
        """Makes the variables.

        Args:
            model: The model, with its weights.
            dtype: Type of kernels and matrices, one of `DTYPES`.
        """
        self._replaced: list[tuple[keras.Variable, tf.Variable]] = []
        # Session loaders restore only what is tracked as a plain variable.
        self.variables: list[tf.Variable] = []
        for variable in model.variables:
            if dtype == FLOAT32 or not _is_shortened(variable):
                self.variables.append(variable.value)
                continue
            short = tf.Variable(
                tf.cast(variable.value, dtype),
                trainable=False,
                name=variable.name,
            )
            self._replaced.append((variable, short))
            self.variables.append(short)

    def restored(self) -> contextlib.AbstractContextManager[object]:
        """Returns a context in which the model computes with them."""
        if not self._replaced:
            return contextlib.nullcontext()
        return keras.StatelessScope(
            state_mapping=[
                (variable, tf.cast(short, variable.dtype))
                for variable, short in self._replaced
            ]
        )


def check(model: keras.Model, dtype: str) -> None:
    """Checks that a type can hold the weights of a model.

    Raises:
        ExportError: A weight is too large for it.
    """
    if dtype == FLOAT32:
        return
    for variable in model.variables:
        short = tf.cast(variable.value, dtype)
        if _is_shortened(variable) and not np.all(
            np.isfinite(tf.cast(short, FLOAT32).numpy())
        ):
            raise errors.ExportError(
                f"The weights {variable.path} have values that --weights="
                f"{dtype} cannot hold. Export with --weights=bfloat16, which "
                "has the range of float32, or float32; if these fail too, the "
                "checkpoint has values that are not finite."
            )


def round_weights(model: keras.Model, dtype: str) -> None:
    """Rounds the weights that are stored in 16 bits, in place.

    Args:
        model: The model; then it computes what its export does.
        dtype: See `StoredWeights`.
    """
    if dtype == FLOAT32:
        return
    for variable in model.variables:
        if _is_shortened(variable):
            short = tf.cast(variable.value, dtype)
            variable.assign(tf.cast(short, variable.dtype))


def _is_shortened(variable: keras.Variable) -> bool:
    return variable.dtype == FLOAT32 and len(variable.shape) >= 2
