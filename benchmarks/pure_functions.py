# SPDX-License-Identifier: Apache-2.0
"""Inference and a training step as functions without state, for compilers.

All weights and statistics are arguments, in lists; new ones are results. So a
function can be lowered for an accelerator that the machine does not have, and
run by other frameworks. Sizes are static.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from benchmarks import inputs, models
from deeplab2_like.graph import device
from deeplab2_like.meta_architectures import contract, panoptic_deeplab
from deeplab2_like.model import outputs as outputs_lib
from deeplab2_like.trainer import build

_Tensors = list[tf.Tensor]

_INSTANCES = 30

# The defaults of the trainer's Adam.
_MEAN_DECAY = 0.9
_SQUARE_DECAY = 0.999
_EPSILON = 1e-7


class PureFunction(NamedTuple):
    """A function and the values to call it with.

    Attributes:
        name: Name of the function.
        call: Function from lists of tensors to lists of tensors.
        arguments: Values in the order of the arguments of `call`, each an
            array or a list of arrays.
        num_state: Number of arrays, the first ones of the arguments, that are
            the state.
        changes_state: Whether the first results of the function are a new
            state, of the same structure.
    """

    name: str
    call: Callable[..., Any]
    arguments: list[Any]
    num_state: int
    changes_state: bool

    def flat_arguments(self) -> _Tensors:
        """Returns the arguments as one list."""
        return tf.nest.flatten(self.arguments)

    def compiled(self) -> Callable[..., _Tensors]:
        """Returns the function for XLA, with flat arguments and results."""

        @tf.function(jit_compile=True, autograph=False)
        def call(*flat: tf.Tensor) -> _Tensors:
            packed = tf.nest.pack_sequence_as(self.arguments, flat)
            return tf.nest.flatten(self.call(*packed))

        return call

    def lower(self, platform: str, accelerator: bool) -> bytes:
        """Returns the compiled function as a portable artifact of StableHLO.

        The text of StableHLO is not portable: its form of constants changes
        with versions.

        Args:
            platform: Platform of the kernels: `CPU`, `CUDA` or `TPU`.
            accelerator: Whether operations that are fast on a GPU or TPU are
                used.
        """
        specs = [tf.TensorSpec(x.shape, x.dtype) for x in self.flat_arguments()]
        with device.building_for(accelerator):
            lower = self.compiled().experimental_get_compiler_ir(*specs)
        return lower(stage="stablehlo_serialized", platform_name=platform)


def make_inference(
    backbone: str, size: tuple[int, int], overrides: tuple[str, ...] = ()
) -> list[PureFunction]:
    """Makes the network, the post-processing, and both together.

    Args:
        backbone: A key of `models.CONFIGS`.
        size: (H, W) of the canvas, multiples of 32 and one; one image.
        overrides: Overrides of the config.
    """
    system, model = models.build(models.load_config(backbone, overrides))
    weights = _values(model.variables)
    image = tf.random.stateless_uniform([1, *size, 3], [1, 2], 0, 255)

    def network(weights: _Tensors, image: tf.Tensor) -> dict[str, tf.Tensor]:
        with keras.StatelessScope(
            state_mapping=list(zip(model.variables, weights, strict=True))
        ):
            return system.infer(model, image)

    def postprocess(
        heads: dict[str, tf.Tensor], valid_size: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        return system.postprocess(heads, size, valid_size).as_dict()

    def whole(
        weights: _Tensors, image: tf.Tensor, valid_size: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        return postprocess(network(weights, image), valid_size)

    heads = _make_heads(system, lambda: network(weights, image), size)
    valid_size = tf.constant([[side - 1 for side in size]])
    state = len(weights)
    return [
        PureFunction("network", network, [weights, image], state, False),
        PureFunction("postprocess", postprocess, [heads, valid_size], 0, False),
        PureFunction(
            "inference", whole, [weights, image, valid_size], state, False
        ),
    ]


def _make_heads(
    system: contract.MetaArchitecture,
    run_network: Callable[[], dict[str, tf.Tensor]],
    size: tuple[int, int],
) -> dict[str, tf.Tensor]:
    """Makes head outputs: drawn ones for Panoptic-DeepLab, else random ones."""
    if not isinstance(system, panoptic_deeplab.PanopticDeepLab):
        return run_network()
    maps = inputs.draw_network_maps(
        inputs.draw_label(_INSTANCES, (size[0] - 1, size[1] - 1)), seed=0
    )
    heads = inputs.make_head_outputs(maps)
    return {
        outputs_lib.Output.SEMANTIC_LOGITS.value: tf.constant(heads.logits),
        outputs_lib.Output.CENTER_HEATMAP.value: tf.constant(heads.heatmap),
        outputs_lib.Output.OFFSET_MAP.value: tf.constant(heads.offset),
    }


def make_training_step(
    backbone: str,
    size: tuple[int, int],
    batch_size: int,
    overrides: tuple[str, ...] = (),
) -> PureFunction:
    """Makes a step of Adam on random images.

    Args:
        backbone: A key of `models.CONFIGS`.
        size: (H, W) of the crops.
        batch_size: Crops of a step.
        overrides: Overrides of the config.
    """
    height, width = size
    crop = f"train_dataset_options {{ crop_size: [{height}, {width}] }}"
    config = models.load_config(backbone, (crop, *overrides))
    system, model = models.build(config)
    solver = config.options.trainer_options.solver_options
    learning_rate = build.build_learning_rate(solver)
    trained, others = model.trainable_variables, model.non_trainable_variables

    def step(
        weights: _Tensors,
        statistics: _Tensors,
        optimizer: _Tensors,
        image: tf.Tensor,
        targets: dict[str, tf.Tensor],
    ) -> tuple[_Tensors, _Tensors, _Tensors, tf.Tensor]:
        mapping = [
            *zip(trained, weights, strict=True),
            *zip(others, statistics, strict=True),
        ]
        with tf.GradientTape() as tape:
            tape.watch(weights)
            with keras.StatelessScope(state_mapping=mapping) as scope:
                outputs = system.infer_for_training(model, image, targets)
                losses = system.compute_losses(outputs, targets)
            total = tf.reduce_mean(tf.add_n(list(losses.values())))
        gradients = tape.gradient(total, weights)
        weights, optimizer = _step_adam(
            learning_rate, optimizer, gradients, weights
        )
        statistics = [scope.get_current_value(v) for v in others]
        return weights, statistics, optimizer, total

    make_targets = system.target_maker(is_training=True)
    targets = [
        make_targets(tf.constant(inputs.draw_label(_INSTANCES, size, seed)))
        for seed in range(batch_size)
    ]
    moments = [tf.zeros(v.shape, v.dtype) for v in trained]
    state = [
        _values(trained),
        _values(others),
        [tf.constant(0, tf.int64), *moments, *moments],
    ]
    return PureFunction(
        "training_step",
        step,
        [
            *state,
            tf.random.stateless_uniform([batch_size, *size, 3], [1, 2], 0, 255),
            tf.nest.map_structure(lambda *x: tf.stack(x), *targets),
        ],
        sum(len(part) for part in state),
        True,
    )


def _step_adam(
    learning_rate: Callable[[tf.Tensor], tf.Tensor],
    state: _Tensors,
    gradients: _Tensors,
    weights: _Tensors,
) -> tuple[_Tensors, _Tensors]:
    """Makes a step of Adam without variables, unlike Keras and TensorFlow.

    Args:
        learning_rate: Function from a step to its learning rate.
        state: The step, the mean of each gradient, the mean of each square.
        gradients: The gradient of each weight.
        weights: The weights before the step.

    Returns:
        The new weights and the new state.
    """
    step, number = state[0], len(weights)
    time = tf.cast(step + 1, tf.float32)
    correction = tf.sqrt(1 - _SQUARE_DECAY**time) / (1 - _MEAN_DECAY**time)
    rate = tf.cast(learning_rate(step), tf.float32) * correction
    means, squares, changed = [], [], []
    for weight, gradient, mean, square in zip(
        weights,
        gradients,
        state[1 : 1 + number],
        state[1 + number :],
        strict=True,
    ):
        means.append(mean + (gradient - mean) * (1 - _MEAN_DECAY))
        squares.append(square + (gradient**2 - square) * (1 - _SQUARE_DECAY))
        ratio = means[-1] / (tf.sqrt(squares[-1]) + _EPSILON)
        changed.append(weight - rate * ratio)
    return changed, [step + 1, *means, *squares]


def _values(variables: list[keras.Variable]) -> _Tensors:
    return [tf.convert_to_tensor(variable) for variable in variables]
