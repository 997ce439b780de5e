# SPDX-License-Identifier: Apache-2.0
"""Measures post-processing at 1024x2048 with 19 classes, time and memory.

    python benchmarks/postprocessing.py

* probabilities: from class probabilities, heatmap and offsets of full size.
* heads: from outputs of the network at a quarter of the size.

Compiled by XLA, as in evaluation and export.
"""

import functools
import pathlib
import sys
from collections.abc import Callable, Iterator

import tensorflow as tf

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import inputs, measuring, running  # noqa: E402
from deeplab2_like.postprocess import options, panoptic_deeplab  # noqa: E402

_INSTANCES = (5, 30, 100, 200)
_CLASS_RULES = options.ClassRules(
    num_classes=inputs.NUM_CLASSES,
    thing_ids=inputs.THING_IDS,
    ignore_label=inputs.IGNORE_LABEL,
    label_divisor=inputs.LABEL_DIVISOR,
    stuff_area_limit=2048,
)
_CENTER_RULES = options.CenterRules(
    center_threshold=0.1, nms_kernel=13, keep_k_centers=200
)


def make_function(
    canvas_size: tuple[int, int], *, are_probabilities: bool = False
) -> Callable[..., dict[str, tf.Tensor]]:
    """Makes the compiled function from heads to a prediction's fields."""

    @functools.partial(tf.function, jit_compile=True, autograph=False)
    def process(
        *maps: tf.Tensor, valid_size: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        prediction = panoptic_deeplab.postprocess(
            *maps,
            canvas_size=canvas_size,
            valid_size=valid_size,
            class_rules=_CLASS_RULES,
            center_rules=_CENTER_RULES,
            are_probabilities=are_probabilities,
        )
        return prediction.as_dict()

    return process


def _measure_probabilities() -> Iterator[measuring.Measurement]:
    process = make_function(inputs.SIZE, are_probabilities=True)
    for instances in _INSTANCES:
        maps = inputs.load_network_maps(running.inputs_folder(), instances)
        tensors = [
            tf.constant(inputs.make_probabilities(maps.semantic)[tf.newaxis]),
            tf.constant(maps.heatmap[tf.newaxis, ..., tf.newaxis]),
            tf.constant(maps.offset[tf.newaxis]),
        ]
        del maps
        yield _measure(f"probabilities/{instances}", process, tensors)


def _measure_heads() -> Iterator[measuring.Measurement]:
    height, width = inputs.SIZE
    process = make_function((height + 1, width + 1))
    for instances in _INSTANCES:
        maps = inputs.load_network_maps(running.inputs_folder(), instances)
        heads = inputs.make_head_outputs(maps)
        del maps
        tensors = [tf.constant(values) for values in heads]
        yield _measure(f"heads/{instances}", process, tensors)


def _measure(
    name: str,
    process: Callable[..., dict[str, tf.Tensor]],
    tensors: list[tf.Tensor],
) -> measuring.Measurement:
    valid_size = tf.constant([inputs.SIZE])
    return running.measure_segments(
        f"postprocess/{name}",
        lambda: process(*tensors, valid_size=valid_size),
        inputs.SIZE,
    )


if __name__ == "__main__":
    running.run(
        {
            "probabilities": running.Case(
                _measure_probabilities, has_memory_apart=True
            ),
            "heads": running.Case(_measure_heads, has_memory_apart=True),
        }
    )
