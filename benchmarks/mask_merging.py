# SPDX-License-Identifier: Apache-2.0
"""Measures post-processing of Panoptic FPN: 100 masks at 1024x2048.

    python benchmarks/mask_merging.py

Eleven stuff classes and one channel for all things, of stride 4; masks of
28x28. Compiled by XLA, as evaluation and export do.

* objects, whole_image, noise: see `drawn_objects`.
* full_size_objects, full_size_whole_image: the same work by the baseline, see
  `full_size_pasting`.
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
    full_size_pasting,
    inputs,
    measuring,
    running,
)
from deeplab2_like.postprocess import options, panoptic_fpn  # noqa: E402
from deeplab2_like.postprocess.objects import Objects  # noqa: E402

Masks = full_size_pasting.Masks

_NUMBER = 100
CLASS_RULES = options.ClassRules(
    num_classes=inputs.NUM_CLASSES,
    thing_ids=inputs.THING_IDS,
    ignore_label=inputs.IGNORE_LABEL,
    label_divisor=inputs.LABEL_DIVISOR,
    stuff_area_limit=2048,
)
CHANNEL_CLASSES = (inputs.THING_IDS[0], *inputs.STUFF_IDS)


def draw_masks(size: tuple[int, int], kind: str = "objects") -> Masks:
    """Draws objects whose masks are probabilities; see `drawn_objects.draw`."""
    drawn = drawn_objects.draw(kind, size, _NUMBER)
    return Masks(
        drawn.boxes,
        drawn.category,
        drawn.score,
        drawn_objects.compute_sigmoid(drawn.logits),
    )


def draw_logits(size: tuple[int, int]) -> inputs.Floats:
    """Draws class logits at stride 4: float32 [1, h, w, 12]."""
    label = inputs.draw_label(_NUMBER, size)[::4, ::4]
    category = np.pad(label // inputs.LABEL_DIVISOR, [(0, 1), (0, 1)], "edge")
    channel = np.where(category < len(inputs.STUFF_IDS), category + 1, 0)
    logits = inputs.make_logits(
        channel.astype(np.uint8), num_classes=len(CHANNEL_CLASSES)
    )
    return logits[np.newaxis]


def make_function(
    canvas_size: tuple[int, int],
) -> Callable[..., dict[str, tf.Tensor]]:
    """Makes the compiled function from network outputs to a prediction."""

    @functools.partial(tf.function, jit_compile=True, autograph=False)
    def process(
        logits: tf.Tensor, objects: list[tf.Tensor], valid_size: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        prediction = panoptic_fpn.postprocess(
            logits,
            Objects(*objects),
            canvas_size=canvas_size,
            valid_size=valid_size,
            class_rules=CLASS_RULES,
            mask_rules=options.MaskRules(),
            channel_classes=CHANNEL_CLASSES,
        )
        return prediction.as_dict()

    return process


def _measure(name: str, masks: Masks) -> Iterator[measuring.Measurement]:
    height, width = inputs.SIZE
    process = make_function((height + 1, width + 1))
    objects = [
        tf.constant(values[np.newaxis])
        for values in (
            masks.boxes,
            masks.category,
            masks.score,
            np.ones(len(masks.score), bool),
            masks.masks,
        )
    ]
    arguments = (
        tf.constant(draw_logits(inputs.SIZE)),
        objects,
        tf.constant([inputs.SIZE]),
    )
    yield running.measure_segments(
        f"mask_merging/{name}", lambda: process(*arguments), inputs.SIZE
    )


def _measure_full_size(
    name: str, masks: Masks
) -> Iterator[measuring.Measurement]:
    height, width = inputs.SIZE
    logits = draw_logits(inputs.SIZE)
    yield measuring.measure(
        f"mask_merging/full_size_{name}",
        lambda: full_size_pasting.merge(
            logits,
            masks,
            (height + 1, width + 1),
            CHANNEL_CLASSES,
            inputs.LABEL_DIVISOR,
            CLASS_RULES.void_id,
            CLASS_RULES.stuff_area_limit,
        ),
        sizes={"height": height, "width": width},
        effort=running.effort(),
        memory=running.memory_of_case(),
    )


def _make_case(
    measure: Callable[[str, Masks], Iterator[measuring.Measurement]],
    kind: str,
) -> running.Case:
    return running.Case(
        lambda: measure(kind, draw_masks(inputs.SIZE, kind)),
        has_memory_apart=True,
    )


_CASES = {kind: _make_case(_measure, kind) for kind in drawn_objects.KINDS} | {
    f"full_size_{kind}": _make_case(_measure_full_size, kind)
    for kind in ("objects", "whole_image")
}


if __name__ == "__main__":
    running.run(_CASES)
