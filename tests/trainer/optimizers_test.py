# SPDX-License-Identifier: Apache-2.0
import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.trainer import optimizers, schedules


def _make_variables():
    model = keras.Sequential(
        [
            keras.Input([4]),
            keras.layers.Dense(3, name="first"),
            keras.layers.BatchNormalization(name="norm"),
        ],
        name="net",
    )
    return model, {v.path: v for v in model.variables}


def _constant_rate(rate):
    return schedules.LearningRate(rate, 10, power=0.0)


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_every_optimizer_moves_against_the_gradient(name):
    variable = keras.Variable([1.0, -1.0], name="kernel")
    optimizer = optimizers.make_optimizer(name, _constant_rate(0.1))
    optimizer.build([variable])
    group = optimizers.ParameterGroup(optimizer, [variable])
    optimizers.apply_gradients([group], [tf.constant([1.0, -1.0])])
    assert variable.numpy()[0] < 1.0
    assert variable.numpy()[1] > -1.0


def test_an_unknown_optimizer_is_refused_with_the_known_ones():
    with pytest.raises(errors.ConfigError, match="adam, sgd, adamw"):
        optimizers.make_optimizer("lion", _constant_rate(0.1))


def test_decoupled_decay_acts_on_the_chosen_weights_only():
    model, by_path = _make_variables()
    optimizer = optimizers.make_optimizer(
        "adamw", _constant_rate(0.1), adamw_weight_decay=0.5
    )
    group = optimizers.ParameterGroup(optimizer, model.trainable_variables)
    kernel = next(v for p, v in by_path.items() if p.endswith("first/kernel"))
    optimizers.exclude_from_decay(group, [kernel])
    optimizer.build(group.variables)
    before = {p: v.numpy() for p, v in by_path.items()}
    zeros = [tf.zeros(v.shape) for v in group.variables]
    optimizers.apply_gradients([group], zeros)
    for path, variable in by_path.items():
        factor = 0.95 if variable is kernel else 1.0
        np.testing.assert_allclose(
            variable.numpy(), before[path] * factor, rtol=1e-6
        )


def test_clipping_scales_all_gradients_to_the_common_norm():
    gradients = [tf.constant([3.0, 0.0]), tf.constant([[4.0]])]
    norm = tf.linalg.global_norm(gradients)
    clipped = optimizers.clip_by_global_norm(gradients, norm, 1.0)
    np.testing.assert_allclose(clipped[0], [0.6, 0.0], rtol=1e-6)
    np.testing.assert_allclose(clipped[1], [[0.8]], rtol=1e-6)
    same = optimizers.clip_by_global_norm(gradients, norm, 10.0)
    np.testing.assert_array_equal(same[0], gradients[0])


def test_averages_follow_the_weights_and_can_be_swapped_in():
    variable = keras.Variable([0.0], name="weight")
    average = optimizers.AveragedWeights([variable], decay=0.5)
    variable.assign([8.0])
    average.update(tf.constant(1000))
    average.swap()
    np.testing.assert_allclose(variable.numpy(), [4.0])
    average.swap()
    np.testing.assert_allclose(variable.numpy(), [8.0])
    average.reset()
    average.swap()
    np.testing.assert_allclose(variable.numpy(), [8.0])


_REPLICAS_PROGRAM = """
import keras
from deeplab2_like.trainer import optimizers, schedules

def train(strategy):
    with strategy.scope():
        weight = keras.Variable([1.0, 2.0], name="kernel")
        optimizer = optimizers.make_optimizer(
            "sgd", schedules.LearningRate(0.1, 10, power=0.0))
        optimizer.build([weight])
        group = optimizers.ParameterGroup(optimizer, [weight])
        average = optimizers.AveragedWeights([weight], 0.9)
        step = tf.Variable(0, dtype=tf.int64)
    x = tf.constant([[3.0, 1.0], [-1.0, 2.0]])

    @tf.function
    def train_step():
        def replica():
            replicas = strategy.num_replicas_in_sync
            context = tf.distribute.get_replica_context()
            size = 2 // replicas
            start = context.replica_id_in_sync_group * size
            with tf.GradientTape() as tape:
                mine = tf.slice(x, [start, 0], [size, 2])
                error = tf.square(tf.reduce_sum(mine * weight.value, 1))
                loss = tf.reduce_mean(error) / replicas
            gradients = tape.gradient(loss, [weight.value])
            gradients = optimizers.sum_over_replicas(gradients)
            norm = tf.linalg.global_norm(gradients)
            gradients = optimizers.clip_by_global_norm(gradients, norm, 1.0)
            optimizers.apply_gradients([group], gradients)
        strategy.run(replica)
        step.assign_add(1)
        with strategy.scope():
            average.update(step)

    for _ in range(4):
        train_step()
    result = [weight.numpy().tolist()]
    with strategy.scope():
        average.swap()
    return result + [weight.numpy().tolist()]

one = train(tf.distribute.OneDeviceStrategy("CPU:0"))
two = train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
print(json.dumps([one, two]))
"""


@pytest.mark.slow
def test_clipped_steps_and_averages_on_two_replicas_equal_one_device(
    run_on_two_devices,
):
    one, two = run_on_two_devices(_REPLICAS_PROGRAM)
    np.testing.assert_allclose(one, two, rtol=1e-6)
