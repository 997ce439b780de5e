# SPDX-License-Identifier: Apache-2.0
"""Gradient checkpointing: less memory and more computing in training.

The forward pass keeps only the inputs of a layer; the backward pass computes
the layer again. `tf.recompute_grad` and `keras.RematScope` do that by running
the layer twice, with its side effects: batch norm would move its statistics
twice, and dropout would draw another mask for the gradient. Here the layer
runs as a pure function of its inputs and of the values of its variables, both
times with the same values, random states included; what it assigned in the
forward pass is assigned afterwards, once.
"""

import keras
import tensorflow as tf


class _Reader(keras.layers.Layer):
    """Reads variables as they are stored, also where Keras casts them.

    Within the `call` of a layer of mixed precision a variable reads as a
    rounded copy; the layer to be recomputed makes those copies itself.
    """

    def __init__(self) -> None:
        super().__init__(dtype="float32", autocast=False, name="reader")

    def call(self, inputs, variables):
        del inputs
        return [tf.convert_to_tensor(variable) for variable in variables]


def call_recomputed(layer: keras.layers.Layer, inputs: tf.Tensor) -> tf.Tensor:
    """Calls a layer in training, and calls it again for the gradients.

    Memory is saved in graphs (`tf.function`, with XLA or without); the eager
    gradient tape keeps everything. Second derivatives do not exist.

    Args:
        layer: Built layer from one tensor to one tensor.
        inputs: float, of any shape.

    Returns:
        `layer(inputs, training=True)`.
    """
    trained = layer.trainable_variables
    others = layer.non_trainable_variables
    variables = [*trained, *others]
    values = _Reader()(inputs, variables=variables)
    assigned: list[tf.Tensor] = []

    def compute(x, values):
        scope = keras.StatelessScope(list(zip(variables, values, strict=True)))
        with scope:
            outputs = layer(x, training=True)
        return outputs, [scope.get_current_value(v) for v in others]

    @tf.custom_gradient
    def compute_recomputed(x, *values):
        outputs, new_values = compute(x, values)
        assigned.extend(new_values)

        def compute_gradients(upstream):
            # The activations exist only from the arrival of the gradient on.
            with tf.control_dependencies([upstream]):
                again = _tie(x, upstream)
                sources = [again, *values[: len(trained)]]
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(sources)
                    outputs, _ = compute(again, values)
                gradients = tape.gradient(
                    outputs,
                    sources,
                    output_gradients=upstream,
                    unconnected_gradients=tf.UnconnectedGradients.ZERO,
                )
            return [*gradients, *[None] * len(others)]

        return outputs, compute_gradients

    outputs = compute_recomputed(inputs, *values)
    for variable, before, after in zip(
        others, values[len(trained) :], assigned, strict=True
    ):
        if after is not before:
            variable.assign(after)
    return outputs


def _tie(x: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """Returns x as a value that depends on `upstream`.

    XLA ignores control dependencies, and would merge the second computation
    with the first. The added zero depends on `upstream`, and cannot be proved
    to be zero.
    """
    number = tf.reduce_max(tf.reshape(upstream, [-1])[:1])
    zero = tf.where(tf.equal(number, number), 0.0, float("nan"))
    return x + tf.cast(zero, x.dtype)
