# SPDX-License-Identifier: Apache-2.0
"""Measures post-processing of EfficientPS: 60 objects at 1024x2048.

    python benchmarks/panoptic_fusion.py

From logits of 19 classes at stride 4, and detections of Mask R-CNN with mask
logits of 28x28, to the panoptic map. Compiled by XLA, as in evaluation and
export.

* objects, whole_image, noise: see `drawn_objects`.
* no_object: the same arrays without a valid object.
"""

import functools
import pathlib
import sys
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import (  # noqa: E402
    drawn_objects,
    inputs,
    mask_merging,
    measuring,
    running,
)
from deeplab2_like.postprocess import efficientps, options  # noqa: E402
from deeplab2_like.postprocess.objects import Objects  # noqa: E402

_NUMBER = 60
_NO_OBJECT = "no_object"


def make_function(
    size: tuple[int, int],
) -> Callable[..., dict[str, tf.Tensor]]:
    """Makes the compiled function from network outputs to a prediction."""

    @functools.partial(tf.function, jit_compile=True, autograph=False)
    def process(
        logits: tf.Tensor, objects: list[tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        prediction = efficientps.postprocess(
            logits,
            Objects(*objects),
            canvas_size=size,
            class_rules=mask_merging.CLASS_RULES,
            fusion_rules=options.FusionRules(),
        )
        return prediction.as_dict()

    return process


def make_arguments(
    kind: str, size: tuple[int, int], number: int = _NUMBER
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Makes the arguments of that function: class logits and objects.

    Args:
        kind: One of `drawn_objects.KINDS`, or "no_object".
        size: (H, W) of the image.
        number: Number of objects.
    """
    is_none = kind == _NO_OBJECT
    drawn = drawn_objects.draw("objects" if is_none else kind, size, number)
    objects = Objects(
        drawn.boxes,
        drawn.category,
        drawn.score,
        np.full(number, not is_none),
        drawn.logits,
    )
    return (
        tf.constant(drawn_objects.draw_class_logits(drawn, size)),
        [tf.constant(values[np.newaxis]) for values in objects],
    )


def _measure(kind: str) -> Iterator[measuring.Measurement]:
    process = make_function(inputs.SIZE)
    arguments = make_arguments(kind, inputs.SIZE)
    yield running.measure_segments(
        f"panoptic_fusion/{kind}", lambda: process(*arguments), inputs.SIZE
    )


_CASES = {
    kind: running.Case(functools.partial(_measure, kind), has_memory_apart=True)
    for kind in (*drawn_objects.KINDS, _NO_OBJECT)
}


if __name__ == "__main__":
    running.run(_CASES)
