# SPDX-License-Identifier: Apache-2.0
import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model.layers.convolution import ConvBNAct
from deeplab2_like.model.layers.drop_path import DropPath
from deeplab2_like.model.layers.dropout import Dropout
from deeplab2_like.model.layers.recompute import call_recomputed


class _Noisy(keras.layers.Layer):
    """Convolutions with batch statistics, dropped values and samples."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        options = {"dtype": self.dtype_policy}
        self.parts = [
            ConvBNAct(6, 3, activation="hard_swish", name="conv1", **options),
            Dropout(0.5, seed=1, name="dropout", **options),
            ConvBNAct(4, 3, activation="none", name="conv2", **options),
            DropPath(0.5, seed=2, name="drop_path", **options),
        ]

    def build(self, input_shape):
        channels = input_shape[-1]
        for part in self.parts:
            part.build((None, None, None, channels))
            channels = getattr(part, "filters", channels)

    def call(self, inputs, training=None):
        x = inputs
        for part in self.parts:
            x = part(x, training=training)
        return x


def _make(dtype=None):
    keras.utils.set_random_seed(0)
    layer = _Noisy(name="noisy", dtype=dtype)
    layer.build((None, None, None, 3))
    return layer


def _step(layer, x, recompute):
    """Returns outputs and gradients of one training step."""
    sources = [v.value for v in layer.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = call_recomputed(layer, x) if recompute else layer(x, training=True)
        loss = tf.reduce_sum(tf.cast(y, tf.float32) ** 2)
    return y, tape.gradient(loss, [x, *sources])


def _state(layer):
    return [v.numpy() for v in layer.non_trainable_variables]


_MODES = {
    "eager": lambda f: f,
    "graph": tf.function,
    "xla": lambda f: tf.function(f, jit_compile=True),
}


@pytest.mark.parametrize("mode", _MODES)
def test_everything_is_as_without(mode):
    x = tf.random.stateless_normal((8, 7, 9, 3), (0, 1))
    found = []
    for recompute in (False, True):
        layer = _make()
        run = _MODES[mode](
            lambda x, layer=layer, flag=recompute: _step(layer, x, flag)
        )
        for _ in range(2):  # the second step has moved states
            y, gradients = run(x)
        found.append((y, gradients, _state(layer)))
    (y, gradients, state), (y2, gradients2, state2) = found
    assert np.any(y == 0.0)
    np.testing.assert_allclose(y2, y, rtol=1e-5, atol=1e-5)
    for a, b in zip(gradients2, gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    for a, b in zip(state2, state, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("mode", _MODES)
def test_the_gradient_has_the_mask_of_the_output(mode):
    layer = DropPath(0.5, seed=3, name="drop_path")
    layer.build((None, None, None, 1))

    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = call_recomputed(layer, x)
        return y, tape.gradient(y, x)

    run = _MODES[mode](step)
    seen = []
    for _ in range(3):
        y, gradient = run(tf.ones((64, 1, 1, 1)))
        np.testing.assert_array_equal(gradient, y)
        seen.append(y.numpy())
    assert np.any(seen[0] != seen[1])


@pytest.mark.parametrize("mode", _MODES)
def test_frozen_batch_norm_stays_as_it_is(mode):
    layer = ConvBNAct(2, batch_norm={"trainable": False}, name="conv")
    layer.build((None, None, None, 3))
    before = _state(layer)
    x = tf.random.stateless_normal((4, 5, 5, 3), (0, 1))
    _, gradients = _MODES[mode](lambda x: _step(layer, x, True))(x)
    assert len(gradients) == 2  # of the input and of the kernel
    for a, b in zip(_state(layer), before, strict=True):
        np.testing.assert_array_equal(a, b)
    _, expected = _step(layer, x, False)
    for a, b in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", _MODES)
def test_batch_norm_moves_its_statistics_once(mode):
    layer = ConvBNAct(2, batch_norm={"momentum": 0.5}, name="conv")
    layer.build((None, None, None, 2))
    layer.conv.kernel.assign(np.eye(2)[None, None])
    run = _MODES[mode](lambda x: _step(layer, x, True)[1])
    run(tf.fill((2, 3, 3, 2), 8.0))
    np.testing.assert_allclose(layer.bn.moving_mean, 4.0, rtol=1e-6)


def _count_convolutions(graph):
    return sum(op.type == "Conv2D" for op in graph.get_operations())


def test_the_second_computation_waits_for_the_gradient():
    layer = ConvBNAct(2, 3, name="conv")
    layer.build((None, None, None, 2))
    x = tf.ones((1, 5, 5, 2))
    graphs = [
        tf.function(lambda x, flag=flag: _step(layer, x, flag))
        .get_concrete_function(x)
        .graph
        for flag in (False, True)
    ]
    plain, again = (_count_convolutions(graph) for graph in graphs)
    assert again == plain + 1
    first, second = (
        op for op in graphs[1].get_operations() if op.type == "Conv2D"
    )
    # Up the inputs of the second one: it depends on the first one's output,
    # by way of the gradient of the loss.
    queue, seen = [second], set()
    while queue:
        op = queue.pop()
        if op.name not in seen:
            seen.add(op.name)
            queue += [t.op for t in op.inputs] + list(op.control_inputs)
    assert first.name in seen


def test_xla_does_not_merge_the_two_computations():
    layer = ConvBNAct(8, 3, name="conv")
    layer.build((None, None, None, 8))
    x = tf.ones((1, 9, 9, 8))

    def count_convolutions(recompute):
        run = tf.function(
            lambda x: _step(layer, x, recompute), jit_compile=True
        )
        text = run.experimental_get_compiler_ir(x)(stage="optimized_hlo")
        return text.count(" convolution(")

    assert count_convolutions(True) == count_convolutions(False) + 1


def test_frozen_layers_are_recomputed_too():
    x = tf.random.stateless_normal((4, 5, 5, 3), (0, 1))
    layers = [_make(), _make()]
    for layer in layers:
        layer.trainable = False
    (y, (gradient,)), (y2, (gradient2,)) = (
        _step(layer, x, recompute)
        for layer, recompute in zip(layers, (False, True), strict=True)
    )
    np.testing.assert_allclose(y2, y, rtol=1e-6)
    np.testing.assert_allclose(gradient2, gradient, rtol=1e-4, atol=1e-5)


def test_mixed_precision_keeps_float32_variables():
    x = tf.random.stateless_normal((4, 5, 5, 3), (0, 1))
    layer = _make("mixed_bfloat16")
    y, gradients = _step(layer, x, True)
    assert y.dtype == tf.bfloat16
    for gradient in gradients:
        assert gradient.dtype == tf.float32
        assert np.all(np.isfinite(gradient))


def test_variables_are_not_rounded_twice_within_mixed_precision():
    class Outer(keras.layers.Layer):
        def __init__(self, inner, **kwargs):
            super().__init__(**kwargs)
            self.inner = inner

        def call(self, inputs):
            return call_recomputed(self.inner, inputs)

    x = tf.random.stateless_normal((4, 5, 5, 3), (0, 1))
    layers = [_make("mixed_bfloat16"), _make("mixed_bfloat16")]
    outer = Outer(layers[1], dtype="mixed_bfloat16")
    for step in (lambda x: layers[0](x, training=True), outer):
        step(x)
    for a, b in zip(_state(layers[0]), _state(layers[1]), strict=True):
        np.testing.assert_array_equal(a, b)


_PROGRAM = """
import keras
import numpy as np
from deeplab2_like.model.backbones.residual_blocks import AxialBlock
from deeplab2_like.model.layers.recompute import call_recomputed

x = np.random.default_rng(0).normal(1.0, 2.0, (8, 3, 5, 6)).astype("float32")

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

def run(recompute):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        block = AxialBlock(
            (16, 16, 6), keep_prob=0.5, name="block",
            batch_norm={"synchronized": True})
        block.build(x.shape)
        for v in block.trainable_variables:
            if v.path.endswith("expand/bn/gamma"):
                v.assign(np.ones(v.shape))

    @tf.function
    def step(x):
        def replica():
            context = tf.distribute.get_replica_context()
            mine = x[context.replica_id_in_sync_group * 4:][:4]
            with tf.GradientTape() as tape:
                if recompute:
                    y = call_recomputed(block, mine)
                else:
                    y = block(mine, training=True)
                loss = tf.reduce_sum(y ** 2)
            gradients = tape.gradient(
                loss, [v.value for v in block.trainable_variables])
            return y, context.all_reduce("SUM", gradients)
        return strategy.run(replica)

    y, gradients = step(x)
    local = strategy.experimental_local_results
    return {
        "y": np.concatenate([v.numpy() for v in local(y)]).tolist(),
        "gradients": [local(g)[0].numpy().tolist() for g in gradients],
        "state": [v.numpy().tolist() for v in block.non_trainable_variables
                  if "generator" not in v.path],
    }

print(json.dumps([run(False), run(True)]))
"""


@pytest.mark.slow
def test_replicas_get_the_same_with_and_without(run_on_two_devices):
    plain, again = run_on_two_devices(_PROGRAM)
    np.testing.assert_allclose(again["y"], plain["y"], rtol=1e-4, atol=1e-4)
    for part in ("gradients", "state"):
        for a, b in zip(again[part], plain[part], strict=True):
            scale = 1e-3 * np.abs(b).max() + 1e-3
            np.testing.assert_allclose(a, b, atol=scale)
