# SPDX-License-Identifier: Apache-2.0
"""Adam as one operation: the steps of Keras, on one device and on two."""

import inspect
import sys
import textwrap

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


def _rename_in_keras(monkeypatch, changes):
    """Changes names in the source of Adam, as a release of Keras may."""
    adam = keras.optimizers.Adam
    for method in ("build", "update_step"):
        source = textwrap.dedent(inspect.getsource(getattr(adam, method)))
        for old, new in changes.items():
            source = source.replace(old, new)
        source = source.replace("super()", "super(Adam, self)")
        names = dict(vars(sys.modules[adam.__module__]))
        exec(source, names)
        monkeypatch.setattr(adam, method, names[method])


@pytest.fixture
def warnings(monkeypatch):
    """Returns the list that warnings of this module are appended to."""
    texts = []
    monkeypatch.setattr(
        fused_adam.logging,
        "warning",
        lambda text, *values: texts.append(text % values),
    )
    fused_adam._warn.cache_clear()
    yield texts
    fused_adam._warn.cache_clear()


@pytest.mark.parametrize(
    "changes",
    [
        {"self._momentums": "self._first_moments"},
        {"self._velocities": "self._second_moments"},
        {"self._get_variable_index": "self._index_of"},
        {"gradient": "grad"},
    ],
    ids=lambda changes: next(iter(changes)),
)
@pytest.mark.parametrize(("fused", "plain", "options"), _PAIRS)
def test_a_keras_of_other_names_takes_its_own_step_with_one_warning(
    fused, plain, options, changes, monkeypatch, warnings
):
    names, expected = _train(plain, {**options, "name": "adam"})
    if "self._get_variable_index" in changes:
        base = keras.optimizers.Optimizer
        index_of = base._get_variable_index
        monkeypatch.setattr(base, "_index_of", index_of, raising=False)
        owner = next(
            c for c in base.__mro__ if "_get_variable_index" in vars(c)
        )
        monkeypatch.delattr(owner, "_get_variable_index")
    _rename_in_keras(monkeypatch, changes)
    some_names, values = _train(fused, {**options, "name": "adam"})
    assert some_names == names
    for some, other in zip(values, expected, strict=True):
        np.testing.assert_array_equal(some, other)
    assert len(warnings) == 1
    old = next(iter(changes)).removeprefix("self.")
    assert old in warnings[0]
    assert keras.__version__ in warnings[0]


def test_no_warning_with_the_installed_keras(warnings):
    _train(fused_adam.FusedAdam, {"name": "adam"})
    assert warnings == []


def test_amsgrad_is_that_of_keras():
    options = {"name": "adam", "amsgrad": True}
    _, values = _train(fused_adam.FusedAdam, options)
    _, expected = _train(keras.optimizers.Adam, options)
    for some, other in zip(values, expected, strict=True):
        np.testing.assert_array_equal(some, other)


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


@pytest.mark.slow
def test_two_replicas_equal_one_device(run_on_two_devices):
    for one, two in run_on_two_devices(_PROGRAM):
        np.testing.assert_allclose(one, two, rtol=1e-6)
