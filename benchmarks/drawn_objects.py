# SPDX-License-Identifier: Apache-2.0
"""Objects as a detector finds them in an image, the same in every run.

Each has a box, a class, a score and mask logits of 28x28 in its box. There are
three kinds:

* objects: sizes of street scenes, radii around 26 pixels of 1024 rows.
* whole_image: each is a blob in a box of the size of the image.
* noise: the same boxes with noise in them, so that no work can be skipped.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks import inputs

KINDS = ("objects", "whole_image", "noise")
_SIDE = 28


class Objects(NamedTuple):
    """K objects.

    Attributes:
        boxes: float32 [K, 4], (y1, x1, y2, x2) in pixels.
        category: int32 [K].
        score: float32 [K].
        logits: float32 [K, 28, 28], masks in the frames of the boxes.
    """

    boxes: inputs.Floats
    category: inputs.Ids
    score: inputs.Floats
    logits: inputs.Floats


def draw(kind: str, size: tuple[int, int], number: int) -> Objects:
    """Draws objects, which may overlap.

    Args:
        kind: One of `KINDS`.
        size: (height, width) of the image in pixels.
        number: Number of objects.
    """
    drawn = _draw_objects(size, number)
    if kind == "objects":
        return drawn
    boxes = np.array([[0, 0, *size]], np.float32).repeat(number, axis=0)
    drawn = drawn._replace(boxes=boxes)
    if kind == "whole_image":
        return drawn
    noise = np.random.default_rng(0).random(drawn.logits.shape, np.float32)
    noise = np.clip(noise, 1e-6, 1 - 1e-6)
    return drawn._replace(logits=np.log(noise / (1 - noise)))


def _draw_objects(size: tuple[int, int], number: int) -> Objects:
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
    return Objects(
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
    return logits.astype(np.float32)


def draw_class_logits(objects: Objects, size: tuple[int, int]) -> inputs.Floats:
    """Draws logits of 19 classes at stride 4, of stuff and these objects.

    Args:
        objects: The objects; those of higher scores are in front.
        size: (height, width) of the image in pixels.

    Returns:
        float32 [1, h, w, 19].
    """
    label = inputs.draw_label(0, size)[::4, ::4] // inputs.LABEL_DIVISOR
    category = np.where(label == inputs.IGNORE_LABEL, 0, label)
    y = np.arange(category.shape[0])[:, np.newaxis] * 4 + 0.5
    x = np.arange(category.shape[1]) * 4 + 0.5
    for index in np.argsort(objects.score):
        y1, x1, y2, x2 = objects.boxes[index]
        distance = _place(y, y1, y2) + _place(x, x1, x2)
        category[distance < 1] = objects.category[index]
    return inputs.make_logits(category.astype(np.uint8))[np.newaxis]


def _place(
    pixel: npt.NDArray[np.float64], start: float, end: float
) -> npt.NDArray[np.float64]:
    """Returns distances from the middle of a side, to the power of 2.5."""
    return np.abs((2 * pixel - start - end) / max(end - start, 1e-3)) ** 2.5


def compute_sigmoid(logits: inputs.Floats) -> inputs.Floats:
    """Computes the sigmoid: float32 of the same shape."""
    return (1 / (1 + np.exp(-logits))).astype(np.float32)
