# SPDX-License-Identifier: Apache-2.0
"""Optimizers, gradient clipping and averaged weights under any strategy.

Keras clips the gradient of each replica before their sum, which differs from
clipping on one device, so its `clipnorm` options are not used here.
"""

import dataclasses
from collections.abc import Sequence

import keras
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.trainer import fused_adam, schedules

OPTIMIZERS = ("adam", "sgd", "adamw")


@dataclasses.dataclass(frozen=True)
class ParameterGroup:
    """Variables that share an optimizer.

    Attributes:
        optimizer: The optimizer.
        variables: Its variables, in the order of their gradients.
    """

    optimizer: keras.optimizers.Optimizer
    variables: Sequence[keras.Variable]


def make_optimizer(
    name: str,
    learning_rate: schedules.LearningRate,
    *,
    adamw_weight_decay: float = 0.0,
) -> keras.optimizers.Optimizer:
    """Makes an optimizer with the constants that deeplab2 uses.

    Args:
        name: "adam" (betas 0.9 and 0.999, epsilon 1e-7), "sgd" (momentum
            0.9) or "adamw".
        learning_rate: Schedule of the learning rate.
        adamw_weight_decay: Decoupled decay of "adamw", scaled by the learning
            rate; it acts on variables named `kernel` only.

    Raises:
        ConfigError: The name is unknown.
    """
    if name == "adam":
        return fused_adam.FusedAdam(learning_rate, name="adam")
    if name == "sgd":
        return keras.optimizers.SGD(learning_rate, momentum=0.9, name="sgd")
    if name == "adamw":
        return fused_adam.FusedAdamW(
            learning_rate, weight_decay=adamw_weight_decay, name="adamw"
        )
    raise errors.ConfigError(
        f"solver_options.optimizer is {name!r}; choose one of "
        f"{', '.join(OPTIMIZERS)}."
    )


def exclude_from_decay(
    group: ParameterGroup, decayed: Sequence[keras.Variable]
) -> None:
    """Restricts the decoupled decay of "adamw" to some variables.

    Call it before the optimizer is built.

    Args:
        group: The variables with their optimizer.
        decayed: The variables that decay.
    """
    if not isinstance(group.optimizer, keras.optimizers.AdamW):
        return
    kept = {id(variable) for variable in decayed}
    others = [v for v in group.variables if id(v) not in kept]
    group.optimizer.exclude_from_weight_decay(var_list=others)


def sum_over_replicas(gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Sums gradients over the replicas; call it in a replica context."""
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return list(gradients)
    return list(context.all_reduce(tf.distribute.ReduceOp.SUM, list(gradients)))


def clip_by_global_norm(
    gradients: Sequence[tf.Tensor], norm: tf.Tensor, clip_norm: float
) -> list[tf.Tensor]:
    """Scales gradients down to the norm `clip_norm` if theirs is larger.

    Args:
        gradients: Gradients of any shapes and float dtypes.
        norm: float scalar, norm of all gradients together.
        clip_norm: Largest norm of the result.
    """
    scale = tf.minimum(1.0, clip_norm / tf.maximum(norm, 1e-12))
    return [gradient * tf.cast(scale, gradient.dtype) for gradient in gradients]


def apply_gradients(
    groups: Sequence[ParameterGroup], gradients: Sequence[tf.Tensor]
) -> None:
    """Applies gradients that are already summed over the replicas.

    Args:
        groups: The variables with their optimizers.
        gradients: One gradient for each variable of all groups, in order.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    # Keras sums over the replicas once more.
    if replicas > 1:
        gradients = [gradient / replicas for gradient in gradients]
    start = 0
    for group in groups:
        end = start + len(group.variables)
        group.optimizer.apply_gradients(
            zip(gradients[start:end], group.variables, strict=True)
        )
        start = end


class AveragedWeights:
    """An exponential moving average of a model's floating-point variables.

    The average after step t is `decay_t * average + (1 - decay_t) * value`
    with `decay_t = min(decay, (1 + t) / (10 + t))`, so that the initial weights
    soon lose their influence.

    Attributes:
        variables: The averages by the path of their variable.
    """

    def __init__(self, variables: Sequence[keras.Variable], decay: float):
        """Starts the averages at the current values, in the strategy's scope.

        Args:
            variables: Variables to average: weights and moving statistics.
            decay: Share of the old average, in (0, 1).
        """
        self._decay = decay
        self._strategy = tf.distribute.get_strategy()
        self._sources = [
            variable
            for variable in variables
            if variable.dtype in ("float32", "bfloat16", "float16")
        ]
        self.variables = {
            variable.path: tf.Variable(
                variable.value,
                trainable=False,
                dtype=variable.dtype,
                name=f"average/{variable.path}",
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
            for variable in self._sources
        }

    def update(self, step: tf.Tensor) -> None:
        """Updates the averages; call it outside of replicas.

        Args:
            step: Integer scalar, number of steps done.
        """
        step = tf.cast(step, tf.float32)
        decay = tf.minimum(self._decay, (1.0 + step) / (10.0 + step))

        def move(average, value):
            weight = tf.cast(1.0 - decay, average.dtype)
            average.assign_add((value - average) * weight)

        # Orbit calls this outside of the strategy's scope, where the strategy
        # of the moment is that for one device.
        for source in self._sources:
            average = self.variables[source.path]
            self._strategy.extended.update(average, move, args=(source.value,))

    def reset(self) -> None:
        """Restarts the averages at the current values."""
        for source in self._sources:
            self.variables[source.path].assign(source.value)

    def swap(self) -> None:
        """Exchanges the averages with the current values of the model."""
        for source in self._sources:
            average = self.variables[source.path]
            present = tf.convert_to_tensor(source.value)
            source.value.assign(tf.convert_to_tensor(average))
            average.assign(present)
