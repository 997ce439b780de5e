# SPDX-License-Identifier: Apache-2.0
"""Inference and a training step as functions without state, for compilers.

All weights and statistics are arguments, in lists; new ones are results. So a
function can be lowered for an accelerator that is not there, and run by other
frameworks. Sizes are static.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from benchmarks import inputs, models
from deeplab2_like.model import outputs as outputs_lib
from deeplab2_like.trainer import build

_Tensors = list[tf.Tensor]


class PureFunction(NamedTuple):
    """A function and what to call it with.

    Attributes:
        name: Of the function.
        call: Takes and gives lists of tensors.
        arguments: Values to call it with, in the order of `call`'s arguments;
            each an array or a list of arrays.
        num_state: How many arrays of the arguments, the first ones, are the
            state. If the function changes the state it gives the new one, of
            the same form, before its other results.
        changes_state: Whether it does.
    """

    name: str
    call: Callable[..., Any]
    arguments: list[Any]
    num_state: int
    changes_state: bool

    def specs(self) -> list[Any]:
        """Gives shape and type of the arguments."""
        return tf.nest.map_structure(
            lambda x: tf.TensorSpec(x.shape, x.dtype), self.arguments
        )


def make_inference(
    backbone: str, size: tuple[int, int], overrides: tuple[str, ...] = ()
) -> list[PureFunction]:
    """Makes the network, the post-processing, and both together.

    Args:
        backbone: A key of `models.CONFIGS`.
        size: (H, W) of the canvas; one image.
        overrides: Of the config.
    """
    system, model = models.build(models.load_config(backbone, overrides))
    weights = _values(model.variables)
    image = tf.random.stateless_uniform([1, *size, 3], [1, 2], 0, 255)

    def network(weights: _Tensors, image: tf.Tensor) -> dict[str, tf.Tensor]:
        with keras.StatelessScope(
            state_mapping=list(zip(model.variables, weights, strict=True))
        ):
            return model(image, training=False)

    def postprocess(
        heads: dict[str, tf.Tensor], valid_size: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        return system.postprocess(heads, size, valid_size).as_dict()

    def whole(
        weights: _Tensors, image: tf.Tensor, valid_size: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        return postprocess(network(weights, image), valid_size)

    head_size = [(side - 1) // 4 + 1 for side in size]
    channels = {
        outputs_lib.Output.SEMANTIC_LOGITS: system.descriptor.num_classes,
        outputs_lib.Output.CENTER_HEATMAP: 1,
        outputs_lib.Output.OFFSET_MAP: 2,
    }
    heads = {
        name.value: tf.random.stateless_normal([1, *head_size, number], [3, 4])
        for name, number in channels.items()
    }
    valid_size = tf.constant([[side - 1 for side in size]])
    state = len(weights)
    return [
        PureFunction("network", network, [weights, image], state, False),
        PureFunction("postprocess", postprocess, [heads, valid_size], 0, False),
        PureFunction(
            "inference", whole, [weights, image, valid_size], state, False
        ),
    ]


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
        overrides: Of the config.
    """
    height, width = size
    crop = f"train_dataset_options {{ crop_size: [{height}, {width}] }}"
    config = models.load_config(backbone, (crop, *overrides))
    system, model = models.build(config)
    solver = config.options.trainer_options.solver_options
    # Keras' own Adam: the trainer's fused one changes variables.
    adam = keras.optimizers.Adam(build.build_learning_rate(solver))
    trained, others = model.trainable_variables, model.non_trainable_variables
    adam.build(trained)

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
                outputs = model(image, training=True)
                losses = system.compute_losses(outputs, targets)
            total = tf.reduce_mean(tf.add_n(list(losses.values())))
        gradients = tape.gradient(total, weights)
        weights, optimizer = adam.stateless_apply(optimizer, gradients, weights)
        statistics = [scope.get_current_value(v) for v in others]
        return weights, statistics, optimizer, total

    make_targets = system.target_maker(is_training=True)
    targets = [
        make_targets(tf.constant(inputs.draw_label(30, size, seed)))
        for seed in range(batch_size)
    ]
    state = [
        _values(variables) for variables in (trained, others, adam.variables)
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


def _values(variables: list[keras.Variable]) -> _Tensors:
    return [tf.convert_to_tensor(variable) for variable in variables]
