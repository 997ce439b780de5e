# SPDX-License-Identifier: Apache-2.0
"""Measures networks: from an image to outputs of the image's size, batch 1.

    python benchmarks/forward.py

As prediction does it: in evaluation mode, with batch norms folded into the
convolutions. `heads` leaves the resizing of the outputs out.
"""

import pathlib
import sys
from collections.abc import Iterator

import tensorflow as tf

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import measuring, models, running  # noqa: E402
from deeplab2_like.model import outputs as outputs_lib  # noqa: E402

_LARGE, _SMALL = (1025, 2049), (513, 1025)
_CASES = (
    ("resnet50", _LARGE),
    ("mobilenet_v3_large", _LARGE),
    ("mobilenet_v3_small", _LARGE),
    ("resnet50", _SMALL),
    ("mobilenet_v3_large", _SMALL),
)


def _measure(
    backbone: str, size: tuple[int, int]
) -> Iterator[measuring.Measurement]:
    _, model = models.build(models.load_config(backbone))
    height, width = size
    image = tf.random.stateless_uniform([1, height, width, 3], [1, 2], 0, 255)

    @tf.function(autograph=False)
    def forward(image):
        return outputs_lib.resize_outputs(model(image, training=False), size)

    yield measuring.measure(
        f"forward/{backbone}/{height}x{width}",
        lambda: forward(image),
        sizes={"height": height, "width": width, "batch": 1},
        effort=running.effort(),
        memory=measuring.Memory.FIRST_RUN,
    )


def _make_case(backbone: str, size: tuple[int, int]) -> running.Case:
    return running.Case(lambda: _measure(backbone, size))


if __name__ == "__main__":
    running.run(
        {f"{name}_{size[0]}": _make_case(name, size) for name, size in _CASES}
    )
