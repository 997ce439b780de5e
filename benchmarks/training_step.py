# SPDX-License-Identifier: Apache-2.0
"""Measures a training step of ResNet-50 at output stride 32, 257x513, batch 1.

    python benchmarks/training_step.py

* gradients: loss and gradients of all weights.
* adam: a whole step of the trainer, in a loop of several steps.
"""

import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import inputs, measuring, models, running  # noqa: E402

_BACKBONE = "resnet50"
_SIZE = (257, 513)
_SIZES = {"height": _SIZE[0], "width": _SIZE[1], "batch": 1}
_STEPS_PER_LOOP = 4


def _load_batch(system) -> dict[str, Any]:
    image, panoptic = inputs.load_training_example(
        running.inputs_folder(), _SIZE
    )
    targets = system.target_maker(is_training=True)(tf.constant(panoptic))
    example = {
        "image": tf.constant(image, tf.float32),
        "targets": targets,
        "name": tf.constant("drawn"),
    }
    return tf.nest.map_structure(lambda x: x[tf.newaxis], example)


def _load_config():
    height, width = _SIZE
    return models.load_config(
        _BACKBONE,
        (f"train_dataset_options {{ crop_size: [{height}, {width}] }}",),
    )


def _measure_gradients() -> Iterator[measuring.Measurement]:
    system, model = models.build(_load_config())
    batch = _load_batch(system)
    weights = [v.value for v in model.trainable_variables]

    @tf.function(autograph=False)
    def compute_gradients(batch):
        with tf.GradientTape() as tape:
            outputs = model(batch["image"], training=True)
            losses = system.compute_losses(outputs, batch["targets"])
            total = tf.reduce_mean(tf.add_n(list(losses.values())))
        return total, tape.gradient(total, weights)

    yield measuring.measure(
        f"training_step/gradients/{_BACKBONE}/{_SIZE[0]}x{_SIZE[1]}",
        lambda: compute_gradients(batch),
        sizes=_SIZES,
        effort=running.effort(),
        memory=measuring.Memory.FIRST_RUN,
    )


def _measure_adam() -> Iterator[measuring.Measurement]:
    from deeplab2_like.trainer import build, training

    config = _load_config()
    solver = config.options.trainer_options.solver_options
    system, model = models.build(config)
    learning_rate = build.build_learning_rate(solver)
    trainer = training.Trainer(
        system,
        model,
        tf.data.Dataset.from_tensors(_load_batch(system)).cache().repeat(),
        build.build_parameter_groups(solver, learning_rate, system, model),
        learning_rate,
        weight_decay=solver.weight_decay,
    )
    steps = tf.constant(_STEPS_PER_LOOP)
    yield measuring.per_item(
        measuring.measure(
            f"training_step/adam/{_BACKBONE}/{_SIZE[0]}x{_SIZE[1]}",
            lambda: trainer.train(steps),
            sizes=_SIZES,
            effort=running.effort(),
            memory=measuring.Memory.FIRST_RUN,
        ),
        _STEPS_PER_LOOP,
    )


if __name__ == "__main__":
    running.run(
        {
            "gradients": running.Case(_measure_gradients),
            "adam": running.Case(_measure_adam),
        }
    )
