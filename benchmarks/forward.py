# SPDX-License-Identifier: Apache-2.0
"""Measures networks: from an image to outputs of the image's size, batch 1.

    python benchmarks/forward.py

Batch norms are folded into the convolutions, as in exported models. Measured
in float32, and in bfloat16 for processors that have instructions for it.
"""

import pathlib
import sys
from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import measuring, models, running  # noqa: E402
from deeplab2_like.model import folding  # noqa: E402
from deeplab2_like.model import outputs as outputs_lib  # noqa: E402

_LARGE, _SMALL = (1025, 2049), (513, 1025)
_SIZES = {
    "resnet50": (_LARGE, _SMALL),
    "mobilenet_v3_large": (_LARGE, _SMALL),
    "mobilenet_v3_small": (_LARGE,),
}
# Beginning of the measurement's name, by precision.
_NAMES = {"float32": "forward", "bfloat16": "forward_bfloat16"}


def _measure(backbone: str) -> Iterator[measuring.Measurement]:
    # Only the first measurement of a process includes the memory.
    memory = measuring.Memory.FIRST_RUN
    for precision, name in _NAMES.items():
        override = f'compute_precision: "{precision}"'
        _, model = models.build(
            models.load_config(backbone, (f"trainer_options {{ {override} }}",))
        )
        model = folding.fold_batch_norms(model)
        for height, width in _SIZES[backbone]:
            yield measuring.measure(
                f"{name}/{backbone}/{height}x{width}",
                _make_run(model, (height, width)),
                sizes={"height": height, "width": width, "batch": 1},
                effort=running.effort(),
                memory=memory,
            )
            memory = measuring.Memory.NOT


def _make_run(
    model: keras.Model, size: tuple[int, int]
) -> Callable[[], dict[str, tf.Tensor]]:
    image = tf.random.stateless_uniform([1, *size, 3], [1, 2], 0, 255)

    @tf.function(autograph=False)
    def forward(image):
        return outputs_lib.resize_outputs(model(image, training=False), size)

    return lambda: forward(image)


def _make_case(backbone: str) -> running.Case:
    return running.Case(lambda: _measure(backbone))


if __name__ == "__main__":
    running.run({backbone: _make_case(backbone) for backbone in _SIZES})
