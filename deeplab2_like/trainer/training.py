# SPDX-License-Identifier: Apache-2.0
"""Training steps on all replicas, for Orbit."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import orbit
import tensorflow as tf
from tensorflow.types.experimental import PolymorphicFunction

from deeplab2_like import errors
from deeplab2_like.graph import checks
from deeplab2_like.meta_architectures import contract
from deeplab2_like.trainer import (
    input_clock,
    optimizers,
    schedules,
    step_options,
)

Batch = Mapping[str, Any]
Numbers = dict[str, tf.Tensor]
_Context = contextlib.AbstractContextManager[None]


class Trainer(orbit.StandardTrainer):
    """A trainer of a model; create it in the strategy's scope.

    Attributes:
        global_step: int64 scalar, number of steps done.
        average: The averaged weights; None without.
        tracing: Makes the context in which Python traces the model.
        around_loop: Makes the context of a loop with a number of steps.
        clock: Measures the waits for batches; None for no measurement.
        loop_function: The traced loop of steps; None before the first one.
    """

    def __init__(
        self,
        system: contract.MetaArchitecture,
        model: keras.Model,
        dataset: tf.data.Dataset | tf.distribute.DistributedDataset,
        groups: Sequence[optimizers.ParameterGroup],
        learning_rate: schedules.LearningRate,
        options: step_options.StepOptions | None = None,
    ):
        """Creates the trainer.

        Args:
            system: System of the model, with its losses.
            model: The model that `system` built.
            dataset: Batches with `image`, `targets` and `name`; see
                `data.pipeline.make_training_dataset`.
            groups: All trainable variables with their optimizers.
            learning_rate: Learning rate, for the summaries.
            options: How a step is computed; the defaults when None.
        """
        super().__init__(
            dataset,
            orbit.StandardTrainerOptions(
                use_tf_function=True, use_tf_while_loop=True
            ),
        )
        self.global_step = orbit.utils.create_global_step()
        self._system = system
        self._model = model
        self._groups = groups
        self._variables = [v for group in groups for v in group.variables]
        self._learning_rate = learning_rate
        self._options = options or step_options.StepOptions()
        self._decayed = (
            system.decayed_variables(model)
            if self._options.weight_decay
            else []
        )
        self._strategy = tf.distribute.get_strategy()
        self._is_tpu = isinstance(self._strategy, tf.distribute.TPUStrategy)
        for group in groups:
            group.optimizer.build(group.variables)
        self.average = (
            optimizers.AveragedWeights(
                model.variables, self._options.average_decay
            )
            if self._options.average_decay
            else None
        )
        self._means = _Means()
        self.tracing: Callable[[], _Context] = contextlib.nullcontext
        self.around_loop: Callable[[int], _Context] = lambda _: (
            contextlib.nullcontext()
        )
        self.clock: input_clock.InputClock | None = None
        self.loop_function: PolymorphicFunction | None = None
        self._compiled_step = tf.function(
            self._replica_step, jit_compile=True, autograph=False
        )

    def state(self) -> dict[str, dict[str, tf.Variable]]:
        """Returns the variables of a checkpoint, except the step, in groups."""
        weights = [v for v in self._model.variables if not _is_seed(v)]
        seeds = [v for v in self._model.variables if _is_seed(v)]
        state = {
            "variables": {v.path: v.value for v in weights},
            "random": {str(i): v.value for i, v in enumerate(seeds)},
        }
        for index, group in enumerate(self._groups):
            name = "optimizer" if index == 0 else f"optimizer_{index}"
            state[name] = {v.path: v.value for v in group.optimizer.variables}
        if self.average is not None:
            state["average"] = dict(self.average.variables)
        return state

    def create_train_loop_fn(self) -> PolymorphicFunction:
        """Creates the loop of steps."""
        self.loop_function = super().create_train_loop_fn()
        return self.loop_function

    def train(self, num_steps: tf.Tensor) -> dict[str, tf.Tensor]:
        """Runs a loop of steps.

        Args:
            num_steps: Integer scalar.

        Returns:
            See `train_loop_end`.
        """
        with self.around_loop(int(num_steps)):
            return super().train(num_steps)

    def train_loop_begin(self) -> None:
        """Resets the means of losses and of the gradient norm."""
        self._means.reset()

    def train_step(self, iterator) -> None:
        """Runs one step on all replicas."""
        if self.clock is None:
            batch = next(iterator)
        else:
            batch = self.clock.take(iterator)
        if self._options.is_compiled:
            # XLA has no texts.
            batch = {key: x for key, x in batch.items() if key != "name"}
            self._strategy.run(self._compiled_step, args=(batch,))
        else:
            self._strategy.run(self._replica_step, args=(batch,))
        self.global_step.assign_add(1)
        if self.average is not None:
            self.average.update(self.global_step)

    def train_loop_end(self) -> dict[str, tf.Tensor]:
        """Returns the means over the steps, for the log and the summaries.

        Raises:
            TrainingError: A loss or gradient is not a number.
        """
        means = self._means.compute()
        total = float(means["losses/train_total_loss"])
        if not tf.math.is_finite(total) or not tf.math.is_finite(
            float(means["gradient_norm"])
        ):
            parts = ", ".join(
                f"{name.split('/')[-1]} {float(value):.4g}"
                for name, value in means.items()
            )
            raise errors.TrainingError(
                "The loss is not a finite number in the steps up to "
                f"{int(self.global_step.numpy())}: {parts}. {_HOW_TO_FIX}"
            )
        means["learning_rate"] = self._learning_rate(self.global_step - 1)
        return means

    @tf.autograph.experimental.do_not_convert
    def _replica_step(self, batch: Mapping[str, tf.Tensor]) -> None:
        with self.tracing():
            gradients, losses, statistics = self._compute_all(batch)
        gradients = optimizers.sum_over_replicas(gradients)
        norm = tf.linalg.global_norm(gradients)
        gradients = self._stop_unless_finite(gradients, norm, losses, batch)
        if self._options.clip_gradient_norm is not None:
            gradients = optimizers.clip_by_global_norm(
                gradients, norm, self._options.clip_gradient_norm
            )
        optimizers.apply_gradients(self._groups, gradients)
        numbers = {f"losses/train_{name}": x for name, x in losses.items()}
        self._means.update(numbers | statistics | {"gradient_norm": norm})

    def _compute_losses(
        self, batch: Mapping[str, Any]
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Computes the losses of a replica, and other numbers for summaries.

        Returns:
            float32 scalars by name each; the total loss is the sum of the
            former.
        """
        outputs = self._system.infer_for_training(
            self._model, batch["image"], batch["targets"]
        )
        parts = self._system.compute_losses(outputs, batch["targets"])
        return {name: tf.reduce_mean(x) for name, x in parts.items()}, {}

    def _compute_all(
        self, batch: Batch
    ) -> tuple[list[tf.Tensor], Numbers, Numbers]:
        """Computes a share in parts.

        Returns:
            Gradients, losses, and other numbers for summaries.
        """
        inputs = {name: x for name, x in batch.items() if name != "name"}
        count = self._options.parts
        if count == 1:
            return self._compute(inputs)
        results = []
        # No loop of TensorFlow, in which replicas cannot exchange statistics.
        # The next part waits, so that the memory is that of one.
        done: list[tf.Tensor] = []
        for index in range(count):
            with tf.control_dependencies(done):
                part = tf.nest.map_structure(
                    lambda x, i=index: tf.identity(self._slice(x, i)), inputs
                )
            results.append(self._compute(part))
            done = results[-1][0]
        gradients = [
            tf.add_n(parts) / len(parts)
            for parts in zip(*(result[0] for result in results), strict=True)
        ]
        losses, statistics = (
            {
                name: tf.add_n([part[name] for part in parts]) / count
                for name in parts[0]
            }
            for parts in zip(*(result[1:] for result in results), strict=True)
        )
        return gradients, losses, statistics

    def _slice(self, values: tf.Tensor, index: int) -> tf.Tensor:
        """Returns one part of a tensor [B, ...]."""
        size = values.shape[0]
        if size is None:
            size = tf.shape(values)[0]
        size = size // self._options.parts
        return values[index * size : (index + 1) * size]

    def _compute(
        self, inputs: Batch
    ) -> tuple[list[tf.Tensor], Numbers, Numbers]:
        """Computes a part of a share: gradients, losses, other numbers."""
        with tf.GradientTape() as tape:
            losses, statistics = self._compute_losses(inputs)
            if self._decayed:
                losses["weight_decay_loss"] = self._compute_decay()
            total = tf.add_n(list(losses.values()))
            scaled = total / self._strategy.num_replicas_in_sync
        gradients = tape.gradient(scaled, [v.value for v in self._variables])
        losses["total_loss"] = total
        gradients = [
            tf.zeros_like(v.value) if g is None else g
            for g, v in zip(gradients, self._variables, strict=True)
        ]
        return gradients, losses, statistics

    def _compute_decay(self) -> tf.Tensor:
        squares = [tf.nn.l2_loss(v.value) for v in self._decayed]
        return self._options.weight_decay * tf.add_n(squares)

    def _stop_unless_finite(
        self,
        gradients: list[tf.Tensor],
        norm: tf.Tensor,
        losses: Mapping[str, tf.Tensor],
        batch: Mapping[str, tf.Tensor],
    ) -> list[tf.Tensor]:
        """Fails a step without a finite loss before it changes a weight.

        Compiled programs cannot fail; there `train_loop_end` raises,
        before a checkpoint is written.
        """
        if self._is_tpu or self._options.is_compiled:
            return gradients
        numbers = [
            *losses.items(),
            ("gradient norm", norm),
            ("images", batch["name"]),
        ]
        listed = [part for name, x in numbers for part in (f", {name} ", x)]
        step = tf.identity(self.global_step)
        rate = self._learning_rate(step)
        is_finite = checks.check(
            tf.math.is_finite(losses["total_loss"]) & tf.math.is_finite(norm),
            lambda: checks.sentence(
                "The loss is not a finite number: step ",
                step,
                ", learning rate ",
                # As it was written: 0.003 in place of 0.00299999.
                tf.strings.as_string(rate, precision=4, shortest=True),
                *listed,
                f". {_HOW_TO_FIX}",
            ),
            checks.TRAINING,
        )
        with checks.after(is_finite):
            return [tf.identity(gradient) for gradient in gradients]


class _Means:
    """Means of named numbers over steps and replicas.

    All are in one variable, as the names are known only when a step is traced:
    a step that makes variables itself is traced twice.
    """

    def __init__(self):
        """Creates the variable, in the scope of the strategy."""
        self._names: list[str] = []
        self._totals = tf.Variable(
            tf.zeros([1 + _MOST_NUMBERS]),
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
            name="totals",
        )

    def reset(self) -> None:
        """Forgets all numbers."""
        self._totals.assign(tf.zeros_like(self._totals))

    def update(self, numbers: Mapping[str, tf.Tensor]) -> None:
        """Adds the numbers of a step, float32 scalars, on each replica."""
        self._names = list(numbers)
        values = tf.stack([1.0, *numbers.values()])
        missing = 1 + _MOST_NUMBERS - values.shape[0]
        self._totals.assign_add(tf.pad(values, [[0, missing]]))

    def compute(self) -> dict[str, tf.Tensor]:
        """Returns the means by name, float32 scalars."""
        count, *totals = tf.unstack(tf.convert_to_tensor(self._totals))
        return {
            name: total / count
            for name, total in zip(self._names, totals, strict=False)
        }


# More than any system has losses.
_MOST_NUMBERS = 64


def _is_seed(variable: keras.Variable) -> bool:
    """Returns whether a variable is the state of a random generator.

    Their names contain numbers that differ between processes.
    """
    return variable.path.endswith("seed_generator_state")


_HOW_TO_FIX = (
    "No checkpoint was written after the last good one. Lower "
    "base_learning_rate, set use_gradient_clipping, or look at the images "
    "named here."
)


def as_training_error(error: Exception) -> errors.TrainingError | None:
    """Returns the error of a failed step; None for other errors."""
    sentence = checks.find_sentence(error, checks.TRAINING)
    return None if sentence is None else errors.TrainingError(sentence)
