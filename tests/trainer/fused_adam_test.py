# SPDX-License-Identifier: Apache-2.0
"""Adam as one operation: the steps of Keras, on one device and on two."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.trainer import fused_adam

_PAIRS = [
    (fused_adam.FusedAdam, keras.optimizers.Adam, {}),
    (fused_adam.FusedAdamW, keras.optimizers.AdamW, {"weight_decay": 0.1}),
]


def _train(optimizer_class, options, jit_compile=False):
    """Returns weights and names of the optimizer's variables after 5 steps."""
    generator = np.random.default_rng(0)
    variables = [
        keras.Variable(generator.normal(size=shape), name=f"w{index}")
        for index, shape in enumerate([(3, 4), (5,)])
    ]
    optimizer = optimizer_class(
        keras.optimizers.schedules.PolynomialDecay(0.1, 10), **options
    )
    optimizer.build(variables)

    @tf.function(jit_compile=jit_compile)
    def step(*gradients):
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    for _ in range(5):
        step(
            *(
                tf.constant(generator.normal(size=v.shape), tf.float32)
                for v in variables
            )
        )
    names = [variable.path for variable in optimizer.variables]
    values = [np.array(v) for v in (*variables, *optimizer.variables)]
    return names, values


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(("fused", "plain", "options"), _PAIRS)
def test_steps_and_moments_are_those_of_keras(
    fused, plain, options, jit_compile
):
    names, values = _train(fused, {**options, "name": "adam"}, jit_compile)
    expected_names, expected = _train(plain, {**options, "name": "adam"})
    assert names == expected_names
    for some, other in zip(values, expected, strict=True):
        np.testing.assert_allclose(some, other, rtol=1e-5, atol=1e-7)


_PROGRAM = """
import keras
from deeplab2_like.trainer import optimizers, schedules

def train(strategy, name):
    with strategy.scope():
        weight = keras.Variable([[1.0, 2.0]], name="kernel")
        optimizer = optimizers.make_optimizer(
            name, schedules.LearningRate(0.1, 10, power=0.0),
            adamw_weight_decay=0.1)
        optimizer.build([weight])
    group = optimizers.ParameterGroup(optimizer, [weight])

    @tf.function
    def step():
        def replica():
            replicas = strategy.num_replicas_in_sync
            gradient = optimizers.sum_over_replicas(
                [tf.cos(3.0 * weight.value) / replicas])
            optimizers.apply_gradients([group], gradient)
        strategy.run(replica)

    for _ in range(4):
        step()
    return weight.numpy().tolist()

print(json.dumps([
    [train(tf.distribute.OneDeviceStrategy("CPU:0"), name),
     train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), name)]
    for name in ("adam", "adamw")]))
"""


def test_two_replicas_equal_one_device(run_on_two_devices):
    for one, two in run_on_two_devices(_PROGRAM):
        np.testing.assert_allclose(one, two, rtol=1e-6)
