# SPDX-License-Identifier: Apache-2.0
"""Checks that every layer, backbone and model of this package must pass.

Use them in the tests of your own parts:

    def test_my_backbone_passes_the_harness(tmp_path):
        harness.check_model(lambda: MyBackbone(name="backbone"), tmp_path)

`check_layer` and `check_model` run the same checks, in this order: named
variables, two sizes, gradients, config round trip, save and load, eager =
graph = XLA, bfloat16. Each raises `AssertionError` with a sentence about the
fault.
"""

import dataclasses
import inspect
import json
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

Shapes = Any  # a shape, or a dictionary of shapes
Make = Callable[[], keras.layers.Layer]


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """Largest allowed difference, as a share of the largest absolute value.

    Attributes:
        same: Between a layer and its copies.
        graph: Between eager mode, graph and XLA.
        bfloat16: Between a bfloat16 and a float32 run.
    """

    same: float = 1e-6
    graph: float = 1e-4
    bfloat16: float = 0.1


def check_layer(
    make_layer: Make,
    tmp_path: pathlib.Path,
    *,
    shapes: Sequence[Shapes] = ((2, 17, 25, 8), (1, 16, 22, 8)),
    tolerance: Tolerance = Tolerance(),
    value_range: tuple[float, float] = (-1.0, 1.0),
    seed: int = 0,
) -> None:
    """Checks a layer.

    Args:
        make_layer: Returns a new layer, not built, the same at each call.
        tmp_path: An empty folder for saved files.
        shapes: At least two input shapes (B, H, W, C), or dictionaries of
            them for a layer that takes a dictionary.
        tolerance: Tolerance of the comparisons.
        value_range: Range of the inputs.
        seed: Seed of inputs and weights.

    Raises:
        AssertionError: The layer fails a check.
    """
    _check(make_layer, tmp_path, shapes, tolerance, value_range, seed)


def _check(
    make_layer, tmp_path, shapes, tolerance, value_range, seed
) -> tuple[keras.layers.Layer, list["_Run"]]:
    """Checks a layer; returns it and its runs."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    batches = [_make_inputs(shape, value_range, rng) for shape in shapes]
    layer = make_layer()
    layer.build(_unknown_sizes(batches[0]))
    check_variables(layer, make_layer, _unknown_sizes(batches[0]))
    _randomize(layer, rng)
    runs = [_check_runs(layer, batch) for batch in batches]
    _check_gradients(layer, batches[0])
    _check_config(layer, runs[0], tolerance)
    _check_saving(layer, runs[0], tolerance, tmp_path)
    _check_graph(layer, runs, tolerance)
    _check_xla(layer, runs[-1], tolerance)
    _check_bfloat16(layer, make_layer, runs[0], tolerance)
    return layer, runs


def check_model(
    make_model: Callable[[], keras.Model],
    tmp_path: pathlib.Path,
    *,
    sizes: Sequence[tuple[int, int]] = ((33, 65), (48, 50)),
    tolerance: Tolerance = Tolerance(),
    takes_bytes: bool = True,
    seed: int = 0,
) -> None:
    """Checks a model, or a backbone, that takes images.

    Besides the checks of `check_layer`: uint8 and float32 images give equal
    outputs, outputs are float32 in every dtype policy, and images of a batch do
    not influence each other in inference.

    Args:
        make_model: Returns a new model, not built, the same at each call.
        tmp_path: An empty folder for saved files.
        sizes: At least two image sizes (height, width).
        tolerance: Tolerance of the comparisons.
        takes_bytes: Whether images are in 0..255, uint8 or float32. Else they
            are float in -1..1, as for backbones, and outputs have the compute
            dtype.
        seed: Seed of images and weights.

    Raises:
        AssertionError: The model fails a check.
    """
    value_range = (0.0, 255.0) if takes_bytes else (-1.0, 1.0)
    shapes = [(2, *size, 3) for size in sizes]
    model, runs = _check(
        make_model, tmp_path, shapes, tolerance, value_range, seed
    )
    single = model(runs[0].batch[:1], training=False)
    first = tf.nest.map_structure(lambda x: x[:1], runs[0].outputs)
    _compare(single, first, 1e-5, "an image alone and in a batch")
    if takes_bytes:
        rng = np.random.default_rng(seed)
        images = rng.integers(0, 256, (2, *sizes[0], 3)).astype(np.uint8)
        from_bytes = model(images, training=False)
        whole = model(images.astype(np.float32), training=False)
        _compare(from_bytes, whole, 0.0, "uint8 and float32 images")
        for key, value in _flat(whole):
            _require(
                value.dtype == tf.float32,
                f"{key} is {value.dtype}, not float32",
            )


def check_variables(
    layer: keras.layers.Layer, make_layer: Make, input_shape: Shapes
) -> None:
    """Checks that variables have unique paths, the same in every instance.

    Names that Keras numbers by itself differ between two instances made in
    one process, and would then not be found in a checkpoint.

    Args:
        layer: A built layer.
        make_layer: Returns another one.
        input_shape: Shape with which it is built.

    Raises:
        AssertionError: Two paths are equal, differ between the instances, or
            are not below the name of the layer.
    """
    paths = [v.path for v in layer.variables]
    _require(len(set(paths)) == len(paths), "two variables have one path")
    other = make_layer()
    other.build(input_shape)
    for path, again in zip(
        paths, [v.path for v in other.variables], strict=True
    ):
        _require(
            path == again,
            f"a variable is called {path} in one instance and {again} in "
            "another - give every layer a name",
        )
    for path in paths:
        _require(
            path.split("/")[0] == layer.name,
            f"variable {path} is not below the name of its layer {layer.name}",
        )


class _Run(NamedTuple):
    """A batch and the outputs for it, in eager mode and in inference."""

    batch: Any
    outputs: Any


def _check_runs(layer, batch) -> _Run:
    """Checks that outputs are finite, in inference and in training.

    Returns:
        The run in inference, which the other checks compare with.
    """
    before = [v.numpy() for v in layer.variables]
    outputs = {
        training: _call(layer, batch, training) for training in (False, True)
    }
    for training, found in outputs.items():
        for key, value in _flat(found):
            _require(
                bool(np.all(np.isfinite(tf.cast(value, tf.float32)))),
                f"{key} is not finite, training={training}",
            )
    _assign(layer, before)
    return _Run(batch, outputs[False])


def _check_gradients(layer, batch) -> None:
    """Checks that every trainable variable has a finite gradient."""
    before = [v.numpy() for v in layer.variables]
    with tf.GradientTape() as tape:
        outputs = _call(layer, batch, True)
        loss = tf.add_n(
            [
                tf.reduce_mean(tf.cast(value, tf.float32) ** 2)
                for _, value in _flat(outputs)
            ]
        )
    variables = layer.trainable_variables
    gradients = tape.gradient(loss, [v.value for v in variables])
    for variable, gradient in zip(variables, gradients, strict=True):
        _require(gradient is not None, f"{variable.path} has no gradient")
        _require(
            bool(np.all(np.isfinite(gradient))),
            f"the gradient of {variable.path} is not finite",
        )
    _assign(layer, before)


def _check_config(layer, run, tolerance) -> None:
    """Checks that a layer from the config has the same config and outputs."""
    config = layer.get_config()
    text = json.dumps(config, sort_keys=True)
    again = type(layer).from_config(json.loads(text))
    _require(
        json.dumps(again.get_config(), sort_keys=True) == text,
        f"the config changes in a round trip: {text}",
    )
    again.build(_unknown_sizes(run.batch))
    _assign(again, [v.numpy() for v in layer.variables])
    _compare(
        _call(again, run.batch, False),
        run.outputs,
        tolerance.same,
        "a layer and its copy made from the config",
    )


def _check_saving(layer, run, tolerance, tmp_path) -> None:
    """Checks that loaded models and weights files give the same outputs."""
    is_model = isinstance(layer, keras.Model)
    model = layer if is_model else _wrap(layer, run.batch)
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    _compare(
        _call(loaded, run.batch, False),
        run.outputs,
        tolerance.same,
        "a model and what was loaded from its .keras file",
    )
    _require(
        [v.path for v in loaded.variables] == [v.path for v in model.variables],
        "a loaded model has other variable paths",
    )
    weights = tmp_path / "model.weights.h5"
    model.save_weights(weights)
    for variable in loaded.trainable_variables:
        variable.assign(tf.zeros_like(variable.value))
    loaded.load_weights(weights)
    _compare(
        _call(loaded, run.batch, False),
        run.outputs,
        tolerance.same,
        "a model and a copy with its weights file",
    )


def _check_graph(layer, runs, tolerance) -> None:
    """Checks one graph of unknown batch, height and width on all sizes."""
    signature = tf.nest.map_structure(
        lambda x: tf.TensorSpec((None, None, None, x.shape[-1]), x.dtype),
        runs[0].batch,
    )
    function = tf.function(
        lambda x: _call(layer, x, False), input_signature=[signature]
    )
    for run in runs:
        _compare(
            function(run.batch),
            run.outputs,
            tolerance.graph,
            "a graph with unknown sizes and eager",
        )


def _check_xla(layer, run, tolerance) -> None:
    function = tf.function(lambda x: _call(layer, x, False), jit_compile=True)
    _compare(function(run.batch), run.outputs, tolerance.graph, "XLA and eager")


def _check_bfloat16(layer, make_layer, run, tolerance) -> None:
    """Checks float32 variables and outputs of the mixed_bfloat16 policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        low = make_layer()
    finally:
        keras.config.set_dtype_policy(before)
    low.build(_unknown_sizes(run.batch))
    _assign(low, [v.numpy() for v in layer.variables])
    for variable in low.trainable_variables:
        _require(
            variable.dtype == "float32",
            f"{variable.path} is {variable.dtype} under mixed_bfloat16",
        )
    outputs = _call(low, run.batch, False)
    _compare(outputs, run.outputs, tolerance.bfloat16, "bfloat16 and float32")
    _call(low, run.batch, True)


def _call(layer, inputs, training: bool):
    """Calls a layer, with `training` if it takes this argument."""
    if "training" in inspect.signature(layer.call).parameters:
        return layer(inputs, training=training)
    return layer(inputs)


def _wrap(layer, batch) -> keras.Model:
    inputs = tf.nest.map_structure(
        lambda x: keras.Input((None, None, x.shape[-1])), batch
    )
    return keras.Model(inputs, layer(inputs))


def _make_inputs(shape: Shapes, value_range, rng) -> Any:
    if isinstance(shape, dict):
        return {k: _make_inputs(v, value_range, rng) for k, v in shape.items()}
    return tf.constant(rng.uniform(*value_range, shape).astype(np.float32))


def _unknown_sizes(batch) -> Shapes:
    return tf.nest.map_structure(
        lambda x: (None, None, None, x.shape[-1]), batch
    )


def _randomize(layer, rng) -> None:
    """Draws vectors and scalars anew, so that every branch has an effect."""
    for variable in layer.trainable_variables:
        if variable.path.endswith("/gamma"):
            variable.assign(rng.uniform(0.5, 1.0, variable.shape))
        elif len(variable.shape) < 2:
            variable.assign(rng.normal(0.0, 0.1, variable.shape))


def _assign(layer, values) -> None:
    for variable, value in zip(layer.variables, values, strict=True):
        variable.assign(value)


def _flat(outputs) -> list[tuple[str, tf.Tensor]]:
    if isinstance(outputs, dict):
        return _flat_parts((key, outputs[key]) for key in sorted(outputs))
    if isinstance(outputs, tuple | list):
        return _flat_parts(
            (f"output {i}", value) for i, value in enumerate(outputs)
        )
    return [("the output", outputs)]


def _flat_parts(
    parts: Iterable[tuple[str, Any]],
) -> list[tuple[str, tf.Tensor]]:
    """Returns the tensors of named parts, which may be nested."""
    found = []
    for name, part in parts:
        for inner, value in _flat(part):
            is_tensor = not isinstance(part, dict | tuple | list)
            found.append((name if is_tensor else f"{name}, {inner}", value))
    return found


def _compare(actual, expected, tolerance: float, what: str) -> None:
    actual, expected = _flat(actual), _flat(expected)
    _require(
        [key for key, _ in actual] == [key for key, _ in expected],
        f"{what} have different outputs",
    )
    for (key, a), (_, b) in zip(actual, expected, strict=True):
        _require(a.shape == b.shape, f"{what}: {key} {a.shape} {b.shape}")
        a, b = (tf.cast(x, tf.float32).numpy() for x in (a, b))
        error = np.max(np.abs(a - b), initial=0.0)
        allowed = tolerance * np.max(np.abs(b), initial=0.0)
        _require(
            bool(error <= allowed),
            f"{what} differ in {key} by {error:.3g}; {allowed:.3g} is allowed",
        )


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise AssertionError(sentence)
