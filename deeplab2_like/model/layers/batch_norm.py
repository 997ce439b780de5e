# SPDX-License-Identifier: Apache-2.0
"""Batch normalization with the statistics of the published networks."""

from typing import Any

import keras
import tensorflow as tf

MOMENTUM = 0.99
EPSILON = 1e-3


@keras.saving.register_keras_serializable("deeplab2_like")
class BatchNorm(keras.layers.BatchNormalization):
    """Normalizes over batch, height and width, channel by channel.

    The weights are those of `keras.layers.BatchNormalization`: gamma, beta,
    moving_mean, moving_variance.

    - `synchronized=False`: TensorFlow's fused operation. As there, the moving
      variance takes the *unbiased* batch variance (Bessel's correction),
      unlike Keras 3, which takes the biased one. deeplab2:
      `use_sync_batchnorm: false`.
    - `synchronized=True`: statistics over all replicas, with the biased
      variance, as `keras.layers.BatchNormalization(synchronized=True)`. With
      one replica the fused operation computes them.

    Statistics and weights are float32 whatever the compute dtype.

    With `trainable=False` the layer is frozen: weights and statistics stay as
    they are, and normalize in training too.

    Args:
        synchronized: Whether to use statistics over all replicas.
        momentum: Share of the moving statistics that an update keeps.
        epsilon: Number added to the variance.
        gamma_initializer: Initializer of the factors.

    Attributes:
        is_folded: Whether `fold` was called.
    """

    def __init__(
        self,
        synchronized: bool = False,
        *,
        momentum: float = MOMENTUM,
        epsilon: float = EPSILON,
        gamma_initializer: str = "ones",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            axis=-1,
            momentum=momentum,
            epsilon=epsilon,
            gamma_initializer=gamma_initializer,
            synchronized=synchronized,
            **kwargs,
        )
        self.is_folded = False

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, H, W, C]."""
        super().build(input_shape)
        if not self.trainable:
            # Keras leaves that to whoever sets `trainable` after the building.
            self.gamma.trainable = self.beta.trainable = False

    def fold(self, beta: tf.Tensor) -> None:
        """Reduces the layer to the addition of `beta`, for inference only.

        The factor of each channel has been moved into the weights in front.
        The statistics become those of the identity.

        Args:
            beta: float [C].
        """
        for variable, value in (
            (self.gamma, 1.0),
            (self.moving_mean, 0.0),
            (self.moving_variance, 1.0 - self.epsilon),
        ):
            variable.assign(tf.fill(variable.shape, value))
        self.beta.assign(tf.cast(beta, self.beta.dtype))
        self.is_folded = True

    def call(self, inputs, training=None):
        """Returns `inputs` normalized.

        Args:
            inputs: float [B, H, W, C].
            training: Whether to normalize by the batch and update the moving
                statistics (only while the layer is trainable).

        Returns:
            Compute dtype [B, H, W, C].
        """
        training = bool(training) and self.trainable
        if training and self.synchronized and _num_replicas() > 1:
            return super().call(inputs, training=True)
        if training:
            outputs, mean, variance = self._fused(inputs)
            self._update(mean, variance, tf.shape(inputs))
        elif self.is_folded:
            outputs = tf.nn.bias_add(inputs, tf.cast(self.beta, inputs.dtype))
        else:
            outputs, _, _ = self._fused(
                inputs, self.moving_mean, self.moving_variance
            )
        return outputs

    def _fused(self, inputs, mean=None, variance=None):
        """Normalizes by the given statistics, or by those of the batch."""
        if inputs.dtype == tf.float64:  # The fused kernels have no float64.
            raise ValueError(
                "BatchNorm got float64 inputs - float32, float16 and bfloat16 "
                "are supported - set the dtype policy to one of them."
            )
        return tf.compat.v1.nn.fused_batch_norm(
            inputs,
            tf.cast(self.gamma, tf.float32),
            tf.cast(self.beta, tf.float32),
            None if mean is None else tf.cast(mean, tf.float32),
            None if variance is None else tf.cast(variance, tf.float32),
            epsilon=self.epsilon,
            is_training=mean is None,
        )

    def _update(self, mean, variance, shape):
        if self.synchronized:
            count = tf.cast(tf.reduce_prod(shape[:-1]), variance.dtype)
            variance *= (count - 1.0) / count
        for moving, batch in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
            kept = tf.cast(moving, tf.float32) * self.momentum
            moving.assign(kept + batch * (1.0 - self.momentum))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = super().get_config()
        kept = ("name", "trainable", "dtype", "momentum", "epsilon")
        return {key: config[key] for key in kept} | {
            "synchronized": self.synchronized,
            "gamma_initializer": keras.initializers.serialize(
                self.gamma_initializer
            ),
        }


def _num_replicas() -> int:
    return tf.distribute.get_strategy().num_replicas_in_sync
