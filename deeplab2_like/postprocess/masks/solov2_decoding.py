# SPDX-License-Identifier: Apache-2.0
"""From the cells of SOLOv2 to objects, and suppression of duplicates.

Wang et al., "SOLOv2" (arXiv:2003.10152), section 3.4. Only operations that XLA
compiles for CPU, GPU and TPU; static shapes.

G cells of all grids; C thing classes; E channels of the mask features; h, w
their size; K candidates; D objects that there can be.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from deeplab2_like.graph import compilation, exact_floats
from deeplab2_like.postprocess.masks import overlaps
from deeplab2_like.postprocess.options import CellRules

# Final masks that are computed at once: as many as most images have.
_OBJECTS_PER_STEP = 50
# Rows of flags that are reduced together; a power of 2.
_ROWS = 32
_NONE = float("-inf")
# Smallest divisor of the linear decay: that of a mask and its exact copy.
_LEAST = 1e-6


class GridObjects(NamedTuple):
    """Objects of one image, by decreasing scores.

    Attributes:
        category: int32 [D].
        score: float32 [D]; 0 where there is no object.
        is_valid: bool [D].
        logits: float32 [D, h, w], mask logits, also of the invalid part: valid
            pixels of the image may lie between the last valid pixel of a mask
            and the next. Undefined where there is no object.
        boxes: float32 [D, 4], (y1, x1, y2, x2) in pixels of the masks, around
            the pixels above the threshold in the valid part.
    """

    category: tf.Tensor
    score: tf.Tensor
    is_valid: tf.Tensor
    logits: tf.Tensor
    boxes: tf.Tensor


def suppress_neighbors(
    probability_gc: tf.Tensor, grids: Sequence[int]
) -> tf.Tensor:
    """Clears cells with a higher one above, to the left, or above left.

    Of equal neighbors both are kept.

    Args:
        probability_gc: float32 [G, C], not negative.
        grids: Cells on a side of each grid.
    """
    num_classes = probability_gc.shape[-1]
    kept = []
    for cells, side in zip(
        tf.split(probability_gc, [side * side for side in grids]),
        grids,
        strict=True,
    ):
        x = tf.reshape(cells, [side, side, num_classes])
        padded = tf.pad(x, [[1, 0], [1, 0], [0, 0]])
        largest = tf.maximum(
            tf.maximum(padded[:-1, :-1], padded[:-1, 1:]),
            tf.maximum(padded[1:, :-1], x),
        )
        x = tf.where(largest == x, x, 0.0)
        kept.append(tf.reshape(x, [side * side, num_classes]))
    return tf.concat(kept, axis=0)


def find_objects(
    probability_gc: tf.Tensor,
    kernels_ge: tf.Tensor,
    features_hwe: tf.Tensor,
    valid_size: tf.Tensor,
    rules: CellRules,
) -> GridObjects:
    """Finds the objects of one image.

    Args:
        probability_gc: float32 [G, C], from `suppress_neighbors`.
        kernels_ge: float32 [G, E].
        features_hwe: float [h, w, E].
        valid_size: int32 [2], rows and columns of the features, at the top
            left, that are image; areas, scores and boxes leave out the rest.
        rules: Which cells become objects.
    """
    num_classes = probability_gc.shape[-1]
    score = tf.reshape(probability_gc, [-1])
    score = tf.where(score > rules.score_threshold, score, _NONE)
    best = tf.math.top_k(score, min(rules.candidates, score.shape[0]))
    cell, category = best.indices // num_classes, best.indices % num_classes
    kernels = tf.gather(kernels_ge, cell)
    seen = overlaps.measure_masks(
        kernels,
        features_hwe,
        valid_size,
        rules.mask_logit,
        tf.reduce_sum(tf.cast(best.values > _NONE, tf.int32)),
    )
    smallest = tf.gather(tf.constant(rules.cell_limits), cell)
    is_object = (best.values > _NONE) & (seen.area > smallest)
    score = best.values * tf.math.divide_no_nan(seen.total, seen.area)
    ranked = tf.math.top_k(tf.where(is_object, score, _NONE), score.shape[0])
    order = ranked.indices
    is_object = ranked.values > _NONE
    category = tf.gather(category, order)
    shared = tf.gather(tf.gather(seen.shared, order), order, axis=1)
    score = ranked.values * compute_decay(
        shared, tf.gather(seen.area, order), category, is_object, rules
    )
    score = tf.where(is_object, score, _NONE)
    score = tf.where(score >= rules.final_threshold, score, _NONE)
    return _collect(
        score,
        category,
        tf.gather(kernels, order),
        features_hwe,
        valid_size,
        rules,
    )


def _collect(
    score: tf.Tensor,
    category: tf.Tensor,
    kernels: tf.Tensor,
    features_hwe: tf.Tensor,
    valid_size: tf.Tensor,
    rules: CellRules,
) -> GridObjects:
    """Returns the best candidates with their masks."""
    missing = max(0, rules.max_objects - score.shape[0])
    score = tf.pad(score, [[0, missing]], constant_values=_NONE)
    final = tf.math.top_k(score, rules.max_objects)
    index = tf.minimum(final.indices, category.shape[0] - 1)
    is_valid = final.values > _NONE
    logits, boxes = _draw_masks(
        tf.gather(kernels, index),
        tf.reduce_sum(tf.cast(is_valid, tf.int32)),
        features_hwe,
        valid_size,
        rules.mask_logit,
    )
    return GridObjects(
        tf.where(is_valid, tf.gather(category, index), 0),
        tf.where(is_valid, final.values, 0.0),
        is_valid,
        logits,
        boxes,
    )


def _draw_masks(
    kernels_de: tf.Tensor,
    count: tf.Tensor,
    features_hwe: tf.Tensor,
    valid_size: tf.Tensor,
    mask_logit: float,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws the masks of the first objects, and finds their boxes.

    Args:
        kernels_de: float32 [D, E].
        count: int32, number of objects.
        features_hwe: float [h, w, E].
        valid_size: As in `find_objects`.
        mask_logit: Logits above it belong to a mask.

    Returns:
        float32 [D, h, w], the logits, undefined beyond `count`; float32
        [D, 4], the boxes.
    """
    number, filters = kernels_de.shape
    height, width = compilation.sizes(features_hwe)[:2]
    num_steps = compilation.ceil_divide(number, _OBJECTS_PER_STEP)
    size = compilation.ceil_divide(number, num_steps)
    kernels = tf.pad(kernels_de, [[0, num_steps * size - number], [0, 0]])
    kernels = tf.reshape(kernels, [num_steps, size, filters])
    features = _flatten(features_hwe)
    inside = (tf.range(height) < valid_size[0])[:, tf.newaxis] & (
        tf.range(width) < valid_size[1]
    )

    def visit(step, logits, boxes):
        # Objects last: the faster order of the product.
        drawn = tf.matmul(features, tf.gather(kernels, step), transpose_b=True)
        drawn = tf.reshape(drawn, [height, width, size])
        found = find_boxes((drawn > mask_logit) & inside[..., tf.newaxis])
        drawn = tf.transpose(drawn, [2, 0, 1])
        return (
            step + 1,
            tf.tensor_scatter_nd_update(logits, [[step]], drawn[tf.newaxis]),
            tf.tensor_scatter_nd_update(boxes, [[step]], found[tf.newaxis]),
        )

    _, logits, boxes = tf.while_loop(
        lambda step, *_: step * size < count,
        visit,
        (
            0,
            tf.fill([num_steps, size, height, width], _NONE),
            tf.zeros([num_steps, size, 4]),
        ),
        parallel_iterations=1,
    )
    logits = tf.reshape(logits, [num_steps * size, height, width])
    return logits[:number], tf.reshape(boxes, [-1, 4])[:number]


def _flatten(features_hwe: tf.Tensor) -> tf.Tensor:
    """Returns float32 [h * w, E]."""
    filters = features_hwe.shape[-1]
    return tf.reshape(tf.cast(features_hwe, tf.float32), [-1, filters])


def compute_decay(
    shared_kk: tf.Tensor,
    area_k: tf.Tensor,
    category_k: tf.Tensor,
    is_valid_k: tf.Tensor,
    rules: CellRules,
) -> tf.Tensor:
    """Computes the factors by which scores decay: float32 [K] in 0..1.

    Matrix NMS. A mask decays by each one of a higher score and the same class,
    the more they overlap, and the less that one is itself overlapped by
    others. The smallest factor counts.

    Args:
        shared_kk: float32 [K, K], pixels that masks have in common, masks by
            decreasing scores.
        area_k: float32 [K], pixels of each mask.
        category_k: int32 [K], class of each mask.
        is_valid_k: bool [K]; other masks have no influence.
        rules: How scores decay.
    """
    index = tf.range(tf.shape(area_k)[0])
    is_above = index[:, tf.newaxis] < index
    is_same = category_k[:, tf.newaxis] == category_k
    is_pair = is_valid_k[:, tf.newaxis] & is_valid_k
    union = area_k[:, tf.newaxis] + area_k - shared_kk
    overlap = tf.math.divide_no_nan(shared_kk, union)
    overlap = tf.where(is_above & is_same & is_pair, overlap, 0.0)
    # The largest overlap of each mask with those above it.
    overlapped = tf.reduce_max(overlap, axis=0)[:, tf.newaxis]
    if rules.decay == "gaussian":
        decay = tf.exp(
            rules.sigma * (tf.square(overlapped) - tf.square(overlap))
        )
    else:
        decay = (1.0 - overlap) / tf.maximum(1.0 - overlapped, _LEAST)
    return tf.reduce_min(tf.where(is_above, decay, 1.0), axis=0)


def find_boxes(masks_hwd: tf.Tensor) -> tf.Tensor:
    """Finds the boxes around masks, bool [h, w, D]: float32 [D, 4].

    (y1, x1, y2, x2) in pixels; 0 for an empty mask.
    """
    height, width, number = compilation.sizes(masks_hwd)
    by_column = _any_of_rows(tf.reshape(masks_hwd, [1, height, width * number]))
    sides: list[list[tf.Tensor]] = []
    for is_there in (
        _any_of_rows(masks_hwd),
        tf.reshape(by_column, [width, number]),
    ):
        size = tf.shape(is_there)[0]
        place = tf.range(size)[:, tf.newaxis]
        first = tf.reduce_min(tf.where(is_there, place, size), axis=0)
        end = tf.reduce_max(tf.where(is_there, place + 1, 0), axis=0)
        sides.append([tf.minimum(first, end), end])
    (y1, y2), (x1, x2) = sides
    return tf.cast(tf.stack([y1, x1, y2, x2], axis=1), tf.float32)


def _any_of_rows(flags: tf.Tensor) -> tf.Tensor:
    """Reduces the middle axis of bool [A, B, C]: [A, C]."""
    first, number, last = compilation.sizes(flags)
    parts = compilation.ceil_divide(number, _ROWS)
    flags = tf.pad(flags, [[0, 0], [0, parts * _ROWS - number], [0, 0]])
    flags = tf.reshape(flags, [first * parts, _ROWS, last])
    flags = compilation.reduce_middle(flags, tf.logical_or)
    return tf.reduce_any(tf.reshape(flags, [first, parts, last]), axis=1)


def compute_probabilities(
    logits_gc: tf.Tensor, grids: Sequence[int]
) -> tf.Tensor:
    """Computes probabilities for `find_objects`: float32 [G, C].

    Args:
        logits_gc: float [G, C].
        grids: Cells on a side of each grid.
    """
    probability = exact_floats.sigmoid(tf.cast(logits_gc, tf.float32))
    return suppress_neighbors(probability, grids)
