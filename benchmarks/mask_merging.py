# SPDX-License-Identifier: Apache-2.0
"""Measures post-processing of Panoptic FPN: 100 masks at 1024x2048.

    python benchmarks/mask_merging.py

Eleven stuff classes and one channel for all things, of stride 4; masks of
28x28. Compiled by XLA, as evaluation and export do.

* objects: masks of the sizes of street scenes, radii around 26 pixels.
* whole_image: each is a blob in a box of the size of the image.
* noise: the same boxes with noise in them, for which nothing can be left out.
* full_size_objects, full_size_whole_image: the same work done naively, see
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
    full_size_pasting,
    inputs,
    measuring,
    running,
)
from deeplab2_like.postprocess import (  # noqa: E402
    heuristic_merge,
    panoptic_fpn,
    rules,
)

Masks = full_size_pasting.Masks

_NUMBER = 100
_SIDE = 28
CLASS_RULES = rules.ClassRules(
    num_classes=inputs.NUM_CLASSES,
    thing_ids=inputs.THING_IDS,
    ignore_label=inputs.IGNORE_LABEL,
    label_divisor=inputs.LABEL_DIVISOR,
    stuff_area_limit=2048,
)
CHANNEL_CLASSES = (inputs.THING_IDS[0], *inputs.STUFF_IDS)


def draw_masks(size: tuple[int, int], number: int = _NUMBER) -> Masks:
    """Draws objects like those of a street scene; they may overlap."""
    generator = np.random.default_rng(number)
    scale = size[0] / 1024
    radius = np.exp(generator.normal(np.log(26), 0.75, number))
    radius = np.clip(radius, 3, 263) * scale
    aspect = np.sqrt(generator.uniform(0.5, 2.6, number))
    center_y = generator.normal(0.52, 0.12, number) * size[0]
    center_x = generator.uniform(0, 1, number) * size[1]
    height, width = radius * aspect, radius / aspect
    boxes = np.stack(
        [
            np.clip(center_y - height, 0, size[0]),
            np.clip(center_x - width, 0, size[1]),
            np.clip(center_y + height, 0, size[0]),
            np.clip(center_x + width, 0, size[1]),
        ],
        axis=1,
    )
    return Masks(
        boxes.astype(np.float32),
        generator.choice(inputs.THING_IDS, number).astype(np.int32),
        generator.uniform(0.5, 1.0, number).astype(np.float32),
        _draw_blobs(generator, number),
    )


def _draw_blobs(generator: np.random.Generator, number: int) -> inputs.Floats:
    """Draws rounded rectangles with soft, ragged edges: [number, 28, 28]."""
    place = (np.arange(_SIDE) + 0.5) / _SIDE * 2 - 1
    distance = np.abs(place[:, np.newaxis]) ** 2.5 + np.abs(place) ** 2.5
    logits = 8 * (1 - distance) + generator.normal(0, 1, (number, _SIDE, _SIDE))
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def draw_whole_image(
    size: tuple[int, int], number: int = _NUMBER, *, has_noise: bool = False
) -> Masks:
    """Draws objects whose boxes are the image."""
    masks = draw_masks(size, number)
    if has_noise:
        generator = np.random.default_rng(0)
        shape = masks.masks.shape
        masks = masks._replace(masks=generator.random(shape, np.float32))
    boxes = np.array([[0, 0, *size]], np.float32)
    return masks._replace(boxes=boxes.repeat(number, axis=0))


def draw_logits(size: tuple[int, int]) -> inputs.Floats:
    """Draws logits of stride 4: float32 [1, h, w, 12]."""
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
    """Makes the compiled function from network outputs to the result."""

    @functools.partial(tf.function, jit_compile=True, autograph=False)
    def process(
        logits: tf.Tensor, objects: list[tf.Tensor], valid_size: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        prediction = panoptic_fpn.postprocess(
            logits,
            panoptic_fpn.Objects(*objects),
            channel_classes=CHANNEL_CLASSES,
            size=canvas_size,
            valid_size=valid_size,
            class_rules=CLASS_RULES,
            mask_rules=heuristic_merge.MaskRules(),
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
    is_valid = process(*arguments)["segment_is_valid"]
    segments = int(is_valid.numpy().sum())
    yield measuring.measure(
        f"mask_merging/{name}",
        lambda: process(*arguments),
        sizes={"height": height, "width": width, "segments": segments},
        effort=running.effort(),
        memory=running.memory_of_case(),
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
    name: str,
    draw: Callable[[tuple[int, int]], Masks],
) -> running.Case:
    return running.Case(
        lambda: measure(name, draw(inputs.SIZE)), has_memory_apart=True
    )


_CASES = {
    "objects": _make_case(_measure, "objects", draw_masks),
    "whole_image": _make_case(_measure, "whole_image", draw_whole_image),
    "noise": _make_case(
        _measure,
        "noise",
        functools.partial(draw_whole_image, has_noise=True),
    ),
    "full_size_objects": _make_case(_measure_full_size, "objects", draw_masks),
    "full_size_whole_image": _make_case(
        _measure_full_size, "whole_image", draw_whole_image
    ),
}


if __name__ == "__main__":
    running.run(_CASES)
