# SPDX-License-Identifier: Apache-2.0
"""Sum of batch-normalized terms, each with statistics of its own."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from deeplab2_like.model.layers.batch_norm import EPSILON, MOMENTUM


@keras.saving.register_keras_serializable("deeplab2_like")
class NormalizedSum(keras.layers.Layer):
    """Sum of terms that are each normalized over all but some axes.

    deeplab2's axial attention stacks its terms and normalizes the stack by a
    batch norm with `axis=[0, ...]`; here the terms stay apart, which saves
    the stack, and the variables have the stack's shape. As there the moving
    variance is that of the batch, without Bessel's correction.

    Computes in float32 whatever the dtype of the terms.

    Args:
        num_terms: Number of terms.
        keep_depth: Whether each value of the last axis of each head has
            statistics of its own; if not, each head has.
        synchronized: Whether statistics are computed over all replicas.
        momentum: See `BatchNorm`.
        epsilon: See `BatchNorm`.
    """

    def __init__(
        self,
        num_terms: int,
        *,
        keep_depth: bool,
        synchronized: bool = False,
        momentum: float = MOMENTUM,
        epsilon: float = EPSILON,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_terms = num_terms
        self.keep_depth = keep_depth
        self.synchronized = synchronized
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape):
        """Makes the variables for terms of `input_shape` [B, R, N, L, D]."""
        heads, depth = input_shape[2], input_shape[4]
        shape = (self.num_terms, 1, heads, 1, depth if self.keep_depth else 1)
        for name, initializer, is_trained in (
            ("gamma", "ones", True),
            ("beta", "zeros", True),
            ("moving_mean", "zeros", False),
            ("moving_variance", "ones", False),
        ):
            variable = self.add_weight(
                name=name,
                shape=shape,
                initializer=initializer,
                trainable=is_trained and self.trainable,
                autocast=False,
            )
            setattr(self, name, variable)

    def call(self, terms, training=None):
        """Returns the sum of the normalized terms.

        Args:
            terms: `num_terms` times float [B, R, N, L, D]: N heads.
            training: See `BatchNorm.call`.

        Returns:
            float32 [B, R, N, L, D].
        """
        terms = [tf.cast(term, tf.float32) for term in terms]
        if training and self.trainable:
            mean, variance = self._compute_moments(terms)
            self._update(mean, variance)
        else:
            mean = tf.convert_to_tensor(self.moving_mean)
            variance = tf.convert_to_tensor(self.moving_variance)
        scale = self.gamma * tf.math.rsqrt(variance + self.epsilon)
        shift = tf.reduce_sum(self.beta - mean * scale, axis=0)
        total = terms[0] * scale[0]
        for number in range(1, self.num_terms):
            total += terms[number] * scale[number]
        return total + shift

    def _compute_moments(self, terms: Sequence[tf.Tensor]):
        """Returns (mean, variance), float32 [terms, 1, N, 1, D or 1]."""
        axes = [0, 1, 3] if self.keep_depth else [0, 1, 3, 4]
        moments = [
            keras.ops.moments(
                term, axes, keepdims=True, synchronized=self._over_replicas()
            )
            for term in terms
        ]
        means, variances = zip(*moments, strict=True)
        return tf.concat(means, axis=0), tf.concat(variances, axis=0)

    def _over_replicas(self) -> bool:
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        return self.synchronized and replicas > 1

    def _update(self, mean, variance):
        for moving, batch in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
            kept = tf.convert_to_tensor(moving) * self.momentum
            moving.assign(kept + batch * (1.0 - self.momentum))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "num_terms": self.num_terms,
            "keep_depth": self.keep_depth,
            "synchronized": self.synchronized,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
        }
