# SPDX-License-Identifier: Apache-2.0
"""Systems on a pyramid are equal in every mode, and lower for TPUs."""

import importlib.util

import keras
import numpy as np
import pytest
import tensorflow as tf


@pytest.mark.slow
def test_the_whole_inference_is_the_same_in_every_mode(tiny, built):
    system, model = built
    images, _, _ = tiny.make_batch(system, [2, 3])

    def predict(images):
        prediction = system.postprocess(system.infer(model, images), tiny.size)
        return prediction.as_dict()

    expected = predict(images)
    for is_compiled in (False, True):
        function = tf.function(
            predict, jit_compile=is_compiled, autograph=False
        )
        for name, value in function(images).items():
            equal = np.mean(value.numpy() == expected[name].numpy())
            if name in ("panoptic", "semantic"):
                assert equal > 0.999, name
            assert value.shape == expected[name].shape


@pytest.mark.parametrize(
    ("tiny", "mode"),
    [
        ("panoptic_fpn", "graph"),
        ("panoptic_fpn", "xla"),
        ("efficientps", "xla"),
        ("efficientps_solov2", "xla"),
    ],
    indirect=["tiny"],
)
@pytest.mark.slow
def test_a_training_step_equals_eager_mode(tiny, mode, compute_total):
    system, model = tiny.build()
    images, targets, _ = tiny.make_batch(system, [0, 1])
    start = [v.numpy() for v in model.variables]

    def run(mode):
        for variable, value in zip(model.variables, start, strict=True):
            variable.assign(value)
        optimizer = keras.optimizers.SGD(0.01)
        optimizer.build(model.trainable_variables)

        def step():
            with tf.GradientTape() as tape:
                total, _ = compute_total(system, model, images, targets)
            variables = model.trainable_variables
            gradients = tape.gradient(total, [v.value for v in variables])
            optimizer.apply(gradients, variables)
            return total

        if mode != "eager":
            step = tf.function(step, jit_compile=mode == "xla", autograph=False)
        return [float(step()) for _ in range(2)]

    expected = run("eager")
    assert expected[1] < expected[0] * 1.5
    np.testing.assert_allclose(run(mode), expected, rtol=2e-3)


def _lower(function, *arguments):
    """Returns StableHLO: with the kernels for TPUs where they are installed."""
    platform = "TPU" if importlib.util.find_spec("libtpu") else "CPU"

    @tf.function(jit_compile=True, autograph=False)
    def call(*flat):
        return function(*tf.nest.pack_sequence_as(arguments, flat))

    flat = tf.nest.flatten(arguments)
    specs = [tf.TensorSpec(x.shape, x.dtype) for x in flat]
    lower = call.experimental_get_compiler_ir(*specs)
    return lower(stage="stablehlo", platform_name=platform)


def _values(variables):
    return [tf.convert_to_tensor(v) for v in variables]


@pytest.mark.slow
def test_the_whole_inference_lowers_to_static_shapes(tiny, built):
    system, model = built

    def predict(weights, image):
        mapping = zip(model.variables, weights, strict=True)
        with keras.StatelessScope(state_mapping=list(mapping)):
            outputs = system.infer(model, image)
        return system.postprocess(outputs, tiny.size).as_dict()

    text = _lower(
        predict, _values(model.variables), tf.zeros([1, *tiny.size, 3])
    )
    assert f"{tiny.size[0]}x{tiny.size[1]}xi32" in text
    assert "tensor<?" not in text
    assert "x?x" not in text


@pytest.mark.slow
def test_the_training_step_lowers_to_static_shapes(tiny, built):
    system, model = built
    images, targets, _ = tiny.make_batch(system, [0, 1])
    trained, others = model.trainable_variables, model.non_trainable_variables

    def step(weights, statistics, images, targets):
        mapping = [
            *zip(trained, weights, strict=True),
            *zip(others, statistics, strict=True),
        ]
        with tf.GradientTape() as tape:
            tape.watch(weights)
            with keras.StatelessScope(state_mapping=mapping):
                outputs = system.infer_for_training(model, images, targets)
            losses = system.compute_losses(outputs, targets)
            total = tf.add_n([tf.reduce_mean(x) for x in losses.values()])
        gradients = tape.gradient(total, weights)
        return [
            w - 0.01 * g for w, g in zip(weights, gradients, strict=True)
        ], total

    text = _lower(
        step,
        _values(trained),
        _values(others),
        tf.cast(images, tf.float32),
        targets,
    )
    assert "tensor<?" not in text
    assert "x?x" not in text
