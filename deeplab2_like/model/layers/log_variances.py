# SPDX-License-Identifier: Apache-2.0
"""The trainable uncertainties of losses."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

# Name of the layer in a model, and of its values among the outputs.
LOG_VARIANCES = "log_variances"


@keras.saving.register_keras_serializable("deeplab2_like")
class LogVariances(keras.layers.Layer):
    """The log s ** 2 of each loss, float32 in every dtype policy.

    See `losses.uncertainty`. Weight decay does not act on them, because they
    are no kernels.

    Args:
        names: Names of the losses.
    """

    def __init__(self, names: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.names = tuple(names)

    def build(self, _input_shape=None):
        """Makes the variable; there is no input."""
        self.values = self.add_weight(
            shape=(len(self.names),),
            initializer="zeros",
            dtype="float32",
            autocast=False,
            name="values",
        )

    def read(self) -> tf.Tensor:
        """Returns float32 [len(names)]."""
        return tf.convert_to_tensor(self.values)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {"names": list(self.names)}
