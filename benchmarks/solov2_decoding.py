# SPDX-License-Identifier: Apache-2.0
"""Measures post-processing of EfficientPS with SOLOv2 at 1024x2048.

    python benchmarks/solov2_decoding.py

From logits of 19 classes and 256 mask features at stride 4, and 3,872 cells
with their kernels, of which 500 are candidates, to the panoptic map. Compiled
by XLA, as in evaluation and export.

* objects: 60 of the sizes of street scenes, each predicted by 4 cells.
* all_candidates: 500 large masks above the threshold, of all classes.
* no_object: no cell is above the threshold.

Parts are measured too, and their shares of the whole printed: the products of
kernels and features (with bits and sums of the masks), Matrix NMS (with the
pixels that masks share), the masks of the final objects, and fusion with the
upsampling of classes and masks.
"""

import functools
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

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
from deeplab2_like.postprocess.masks import (  # noqa: E402
    overlaps,
    solov2_decoding,
)
from deeplab2_like.postprocess.objects import Cells  # noqa: E402

CELL_RULES = options.CellRules()
FUSION_RULES = options.FusionRules(score_threshold=0.3)
_FILTERS = 256
_STRIDE = 4
_CELLS_PER_OBJECT = 4
# Logits of the classes of a cell without an object.
_NONE = -9.0


class Inputs(NamedTuple):
    """Outputs of the network for one image.

    Attributes:
        classes: float32 [1, h, w, 19], logits.
        cells: float32 [1, G, 8], logits.
        kernels: float32 [1, G, E].
        features: float32 [1, h, w, E].
    """

    classes: tf.Tensor
    cells: tf.Tensor
    kernels: tf.Tensor
    features: tf.Tensor


def _draw_many(size: tuple[int, int]) -> drawn_objects.Objects:
    """Draws a large object for each candidate."""
    number = CELL_RULES.candidates
    drawn = drawn_objects.draw("objects", size, number)
    generator = np.random.default_rng(1)
    center = generator.uniform(0, size, (number, 2))
    half = generator.uniform(0.15, 0.5, (number, 2)) * size
    boxes = np.concatenate([center - half, center + half], axis=1)
    return drawn._replace(boxes=boxes.astype(np.float32))


def make_inputs(kind: str, size: tuple[int, int], number: int = 60) -> Inputs:
    """Makes outputs of the network.

    Args:
        kind: "objects", "all_candidates" or "no_object"; see the module.
        size: (H, W) of the image.
        number: Number of objects.
    """
    drawn = drawn_objects.draw("objects", size, number)
    seen, repeats = drawn, _CELLS_PER_OBJECT
    if kind == "no_object":
        repeats = 0
    elif kind == "all_candidates":
        seen, repeats = _draw_many(size), 1
    cells, kernels = _draw_cells(seen, repeats, size)
    shape = [side // _STRIDE for side in size]
    arrays = Inputs(
        drawn_objects.draw_class_logits(drawn, size),
        cells[np.newaxis],
        kernels[np.newaxis],
        _draw_features(shape)[np.newaxis],
    )
    return Inputs(*map(tf.constant, arrays))


def _draw_features(shape: list[int]) -> inputs.Floats:
    """Draws features: 1, y, x, y * y, x * x in 0..1, then noise."""
    generator = np.random.default_rng(2)
    features = generator.standard_normal((*shape, _FILTERS), np.float32)
    y = ((np.arange(shape[0]) + 0.5) / shape[0])[:, np.newaxis]
    x = (np.arange(shape[1]) + 0.5) / shape[1]
    for channel, values in enumerate((1.0, y, x, y * y, x * x)):
        features[..., channel] = values
    return features


def _draw_cells(
    objects: drawn_objects.Objects, repeats: int, size: tuple[int, int]
) -> tuple[inputs.Floats, inputs.Floats]:
    """Draws logits and kernels of all cells: masks are soft ellipses."""
    generator = np.random.default_rng(3)
    number = sum(side * side for side in CELL_RULES.grids)
    logits = np.full((number, len(inputs.THING_IDS)), _NONE, np.float32)
    kernels = 0.02 * generator.standard_normal((number, _FILTERS), np.float32)
    # Neighboring cells would be suppressed.
    apart = np.concatenate([_every_other(*grid) for grid in _list_grids()])
    chosen = generator.permutation(apart)
    relative = objects.boxes / np.array([*size, *size])
    for place in range(repeats * len(relative)):
        index, cell = place // repeats, chosen[place]
        box = relative[index] + generator.normal(0, 0.002, 4)
        center, radius = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
        weight = 4.0 / np.maximum(radius, 0.002) ** 2
        kernels[cell, 0] = 4.0 - np.sum(weight * center**2)
        kernels[cell, 1:3] = 2.0 * weight * center
        kernels[cell, 3:5] = -weight
        thing = inputs.THING_IDS.index(objects.category[index])
        logits[cell, thing] = 3.0 - place % repeats + generator.random()
    return logits, kernels


def _list_grids() -> list[tuple[int, int]]:
    """Returns the first cell and the side of each grid."""
    sides = list(CELL_RULES.grids)
    firsts = np.cumsum([0, *(side * side for side in sides)])
    return list(zip(firsts.tolist(), sides, strict=False))


def _every_other(first: int, side: int) -> inputs.Ids:
    """Returns the cells of every other row and column of a grid."""
    half = np.arange(0, side, 2)
    return (first + half[:, np.newaxis] * side + half).ravel()


def make_function(
    size: tuple[int, int],
) -> Callable[..., dict[str, tf.Tensor]]:
    """Makes the compiled function from network outputs to a prediction."""

    @functools.partial(tf.function, jit_compile=True, autograph=False)
    def process(*maps: tf.Tensor) -> dict[str, tf.Tensor]:
        classes, *cells = maps
        prediction = efficientps.postprocess_cells(
            classes,
            Cells(*cells),
            canvas_size=size,
            class_rules=mask_merging.CLASS_RULES,
            fusion_rules=FUSION_RULES,
            cell_rules=CELL_RULES,
        )
        return prediction.as_dict()

    return process


def _compiled(function: Callable) -> Callable:
    return tf.function(function, jit_compile=True, autograph=False)


def _make_parts(found: Inputs) -> dict[str, Callable[[], object]]:
    """Makes the parts as functions that run by themselves."""
    cells, kernels, features = (x[0] for x in found[1:])
    valid_size = tf.constant(features.shape[:2])
    number = CELL_RULES.candidates

    @_compiled
    def find(cells: tf.Tensor, kernels: tf.Tensor, features: tf.Tensor):
        return solov2_decoding.find_objects(
            solov2_decoding.compute_probabilities(cells, CELL_RULES.grids),
            kernels,
            features,
            valid_size,
            CELL_RULES,
        )

    probability = solov2_decoding.compute_probabilities(cells, CELL_RULES.grids)
    best = tf.math.top_k(tf.reshape(probability, [-1]), number)
    count = tf.reduce_sum(
        tf.cast(best.values > CELL_RULES.score_threshold, tf.int32)
    )
    chosen = tf.gather(kernels, best.indices // cells.shape[1])

    @_compiled
    def draw(kernels: tf.Tensor, features: tf.Tensor, count: tf.Tensor):
        return overlaps.draw_bits(
            kernels, features, valid_size, CELL_RULES.mask_logit, count
        )

    bits = draw(chosen, features, count)

    @_compiled
    def suppress(bits: overlaps.Bits, category: tf.Tensor):
        shared = overlaps.count_shared(bits)
        return solov2_decoding.compute_decay(
            shared,
            tf.linalg.diag_part(shared),
            category,
            tf.ones_like(category, tf.bool),
            CELL_RULES,
        )

    category = best.indices % cells.shape[1]
    return {
        "find_objects": lambda: find(cells, kernels, features),
        "products": lambda: draw(chosen, features, count),
        "matrix_nms": lambda: suppress(bits, category),
    }


def _measure(kind: str) -> Iterator[measuring.Measurement]:
    found = make_inputs(kind, inputs.SIZE)
    process = make_function(inputs.SIZE)
    whole = running.measure_segments(
        f"solov2_decoding/{kind}", lambda: process(*found), inputs.SIZE
    )
    parts = {
        name: measuring.measure(
            f"solov2_decoding/{kind}/part/{name}",
            run,
            effort=running.effort(),
            memory=running.memory_of_case(),
        )
        for name, run in _make_parts(found).items()
    }
    yield measuring.with_values(whole, _compute_shares(whole, parts))
    yield from parts.values()


def _compute_shares(
    whole: measuring.Measurement, parts: dict[str, measuring.Measurement]
) -> dict[str, float]:
    """Computes the shares of the parts in the least wall time of the whole."""
    share = {n: m.wall_ms_min / whole.wall_ms_min for n, m in parts.items()}
    rest = share["find_objects"] - share["products"] - share["matrix_nms"]
    return {
        "share_of_products": share["products"],
        "share_of_matrix_nms": share["matrix_nms"],
        "share_of_final_masks": rest,
        "share_of_fusion_and_upsampling": 1.0 - share["find_objects"],
    }


_CASES = {
    kind: running.Case(functools.partial(_measure, kind), has_memory_apart=True)
    for kind in ("objects", "all_candidates", "no_object")
}


if __name__ == "__main__":
    running.run(_CASES)
