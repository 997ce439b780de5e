# SPDX-License-Identifier: Apache-2.0
"""The winning class of every pixel, and how probable classes are there.

The scores of all classes at full size (159 MB at 1024x2048 and 19 classes)
are never held: strips of rows are widened and reduced over the classes at
once.

h, w: size of the scores; H, W: size of the result; C classes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from deeplab2_like.postprocess import exactness, upsampling
from deeplab2_like.postprocess.exactness import Size

# Values in the strip of all classes before it is widened: 8 MB.
_STRIP_VALUES = 1 << 21


class Scores(NamedTuple):
    """What the semantic head gives.

    Attributes:
        values: float32 [h, w, C].
        are_probabilities: If not they are logits, and the softmax is taken
            after they are upsampled.
    """

    values: tf.Tensor
    are_probabilities: bool = False


class SemanticMap(NamedTuple):
    """The winning class of every pixel.

    Attributes:
        category: int32 [H, W] in 0..C-1, the first of equally good ones.
        probability: float32 [H, W] in 0..1, of that class.
    """

    category: tf.Tensor
    probability: tf.Tensor


def compute_semantic_map(
    scores: Scores, size: tuple[Size, Size], valid_height: tf.Tensor
) -> SemanticMap:
    """Computes class and probability at `size` from scores of any size.

    Args:
        scores: Logits or probabilities.
        size: (H, W).
        valid_height: int32, rows from here on may be left out (class C - 1).
    """
    height, width, num_classes = exactness.sizes(scores.values)
    if exactness.are_known_equal((height, width), size):
        packed = _pack_winner(
            tf.unstack(scores.values, num_classes, axis=-1),
            scores.are_probabilities,
        )
        return _unpack(packed, num_classes)

    # Rows of one class are contiguous, so that they can be widened.
    scores_hcw = tf.transpose(scores.values, [0, 2, 1])
    num_strips, strip_height = _plan_strips(size[0], width * num_classes)
    taps = upsampling.compute_taps(height, size[0])
    row = tf.range(num_strips * strip_height)
    row = tf.reshape(row, [num_strips, strip_height])
    taps = upsampling.Taps(
        *(tf.gather(x, tf.minimum(row, size[0] - 1)) for x in taps)
    )
    plan = upsampling.plan_columns(width, size[1])

    def reduce_strip(index: tf.Tensor) -> tf.Tensor:
        rows = upsampling.interpolate(
            tf.gather(scores_hcw, tf.gather(taps.lower, index)),
            tf.gather(scores_hcw, tf.gather(taps.upper, index)),
            tf.gather(taps.fraction, index)[:, tf.newaxis, tf.newaxis],
        )
        padded = upsampling.pad_rows(rows)
        return upsampling.widen(
            plan,
            lambda expand: _pack_winner(
                [expand(padded[:, c]) for c in range(num_classes)],
                scores.are_probabilities,
            ),
        )

    shape = [strip_height, *exactness.sizes(plan.taps.fraction)]

    # The condition also keeps XLA from merging the reduction with the write
    # of its result, which it would do on one core.
    def visit(index: tf.Tensor) -> tf.Tensor:
        return tf.cond(
            index * strip_height < valid_height,
            lambda: reduce_strip(index),
            lambda: tf.fill(shape, 2.0),
        )

    strips = tf.map_fn(
        visit,
        tf.range(num_strips),
        fn_output_signature=tf.TensorSpec(
            [n if isinstance(n, int) else None for n in shape], tf.float32
        ),
        parallel_iterations=1,
    )
    strips = tf.reshape(strips, [num_strips * strip_height, *shape[1:]])
    packed = upsampling.interleave(plan, strips)[: size[0]]
    return _unpack(packed, num_classes)


def _plan_strips(height: Size, row_values: Size) -> tuple[Size, Size]:
    """Gives the number of strips and their height."""
    most = _STRIP_VALUES // row_values
    most = max(most, 8) if isinstance(most, int) else tf.maximum(most, 8)
    number = exactness.ceil_divide(height, most)
    return number, exactness.ceil_divide(height, number)


def _pack_winner(
    scores: Sequence[tf.Tensor], are_probabilities: bool
) -> tf.Tensor:
    """Gives 2 * (C - winning class) + its probability.

    One number, so that XLA computes the scores once. The class is a maximum
    over independent terms, because a chain of choices is not vectorized.
    """
    best = scores[0]
    for score in scores[1:]:
        best = tf.where(score > best, score, best)
    rank = tf.zeros_like(best)
    for category, score in enumerate(scores):
        is_best = score == best
        value = 2.0 * (len(scores) - category)
        rank = tf.maximum(rank, tf.where(is_best, value, 0.0))
    if are_probabilities:
        probability = tf.clip_by_value(best, 0.0, 1.0)
    else:
        probability = 1.0 / tf.add_n([tf.exp(s - best) for s in scores])
    # Not a number when the scores are none.
    return rank + tf.where(probability > 0.0, probability, 0.0)


def _unpack(packed: tf.Tensor, num_classes: int) -> SemanticMap:
    # A class whose probability is 1 is still below the next one.
    rank = tf.cast(packed * 0.5, tf.int32)
    probability = packed - 2.0 * tf.cast(rank, tf.float32)
    category = num_classes - rank
    return SemanticMap(
        tf.clip_by_value(category, 0, num_classes - 1), probability
    )


def compute_class_probability(
    scores: Scores, semantic: SemanticMap, category_hw: tf.Tensor
) -> tf.Tensor:
    """Computes how probable given classes are.

    Args:
        scores: What `semantic` was computed from.
        semantic: The winning classes and their probabilities.
        category_hw: int32 [H, W], a class for each pixel.

    Returns:
        float32 [H, W] in 0..1.
    """
    height, width, num_classes = exactness.sizes(scores.values)
    size = exactness.sizes(category_hw)
    flat = tf.reshape(scores.values, [-1])
    y = upsampling.compute_taps(height, size[0])
    x = upsampling.compute_taps(width, size[1])

    def read(row: tf.Tensor, column: tf.Tensor, category: tf.Tensor):
        start = row[:, tf.newaxis] * width + column
        return tf.gather(flat, start * num_classes + category)

    def sample(category: tf.Tensor) -> tf.Tensor:
        if exactness.are_known_equal((height, width), size):
            return read(y.lower, x.lower, category)
        fraction = y.fraction[:, tf.newaxis]
        left = upsampling.interpolate(
            read(y.lower, x.lower, category),
            read(y.upper, x.lower, category),
            fraction,
        )
        right = upsampling.interpolate(
            read(y.lower, x.upper, category),
            read(y.upper, x.upper, category),
            fraction,
        )
        return upsampling.interpolate(left, right, x.fraction)

    if scores.are_probabilities:
        probability = tf.clip_by_value(sample(category_hw), 0.0, 1.0)
    else:
        difference = sample(category_hw) - sample(semantic.category)
        ratio = tf.exp(tf.minimum(difference, 0.0))
        probability = ratio * semantic.probability
    return tf.where(
        category_hw == semantic.category, semantic.probability, probability
    )
