# SPDX-License-Identifier: Apache-2.0
"""Measures augmentation and training targets at 1025x2049, from 1024x2048.

    python benchmarks/targets.py

* targets: one image after the other, in a graph.
* tf_data_1, tf_data_2: the time of an image in `map`, by 1 and by 2 threads.
"""

import pathlib
import sys
from collections.abc import Iterator

import tensorflow as tf

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import inputs, measuring, running  # noqa: E402
from deeplab2_like.data import augmentation, preprocessing  # noqa: E402
from deeplab2_like.targets import center_offset  # noqa: E402

_INSTANCES = (10, 30, 100)
_CANVAS = (1025, 2049)
_OPTIONS = preprocessing.Preprocessing(
    crop_size=_CANVAS, min_scale=0.5, max_scale=2.0, scale_step=0.1
)
# Images that are taken from tf.data for one measured run.
_IMAGES_PER_RUN = 8


def _prepare(
    image_hwc: tf.Tensor, panoptic_hw: tf.Tensor, uniform: tf.Tensor
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Makes a training example as the input pipeline does after decoding."""
    image, panoptic = preprocessing.augment_example(
        image_hwc,
        panoptic_hw,
        preprocessing.Draws(place=uniform),
        _OPTIONS,
        inputs.IGNORE_LABEL * inputs.LABEL_DIVISOR,
    )
    return image, center_offset.compute_packed_targets(
        panoptic,
        thing_ids=inputs.THING_IDS,
        ignore_label=inputs.IGNORE_LABEL,
        label_divisor=inputs.LABEL_DIVISOR,
        sigma=8.0,
        small_instance_threshold=4096,
        small_instance_weight=3.0,
        max_class=inputs.IGNORE_LABEL,
    )


def _draw(number: tf.Tensor) -> tf.Tensor:
    """Draws the random numbers of an example."""
    seed = tf.stack([tf.constant(1, tf.int64), tf.cast(number, tf.int64)])
    return tf.random.stateless_uniform([1 + augmentation.NUM_DRAWS], seed)


def _load(instances: int) -> tuple[tf.Tensor, tf.Tensor]:
    image, panoptic = inputs.load_label(running.inputs_folder(), instances)
    return tf.constant(image), tf.constant(panoptic)


def _measure_targets() -> Iterator[measuring.Measurement]:
    prepare = tf.function(_prepare, autograph=False)
    for instances in _INSTANCES:
        image, panoptic = _load(instances)
        counter = iter(range(1_000_000))

        def run(image=image, panoptic=panoptic, counter=counter):
            return prepare(image, panoptic, _draw(tf.constant(next(counter))))

        yield measuring.measure(
            f"targets/{instances}",
            run,
            sizes={"height": _CANVAS[0], "width": _CANVAS[1]},
            effort=running.effort(),
            memory=running.memory_of_case(),
        )


def _measure_tf_data(threads: int) -> Iterator[measuring.Measurement]:
    for instances in _INSTANCES:
        image, panoptic = _load(instances)

        def prepare(number: tf.Tensor, image=image, panoptic=panoptic):
            return _prepare(image, panoptic, _draw(number))

        data = tf.data.Dataset.counter().map(
            prepare, num_parallel_calls=threads
        )
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        options.threading.max_intra_op_parallelism = 1
        elements = iter(data.with_options(options))

        def run(elements=elements):
            for _ in range(_IMAGES_PER_RUN):
                next(elements)

        yield measuring.per_item(
            measuring.measure(
                f"targets_tf_data/{threads}_threads/{instances}",
                run,
                sizes={"height": _CANVAS[0], "width": _CANVAS[1]},
                effort=running.effort(),
            ),
            _IMAGES_PER_RUN,
        )


if __name__ == "__main__":
    running.run(
        {
            "targets": running.Case(_measure_targets, has_memory_apart=True),
            "tf_data_1": running.Case(lambda: _measure_tf_data(1)),
            "tf_data_2": running.Case(lambda: _measure_tf_data(2)),
        }
    )
