# SPDX-License-Identifier: Apache-2.0
"""The winning class of every pixel, and the probabilities of classes.

The scores of all classes at full size (159 MB at 1024x2048 and 19 classes)
are never stored: strips of rows are widened and reduced over the classes at
once.

h, w: size of the scores; H, W: size of the result; C classes.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from deeplab2_like.graph import compilation
from deeplab2_like.graph.compilation import Size
from deeplab2_like.postprocess.pixels import upsampling

# Values in the strip of all classes before it is widened: 8 MB.
_STRIP_VALUES = 1 << 21


class Scores(NamedTuple):
    """Output of the semantic head.

    Attributes:
        values: float32 [h, w, C].
        are_probabilities: The values are probabilities. Else they are logits,
            and the softmax is taken after upsampling.
        is_half_pixel: Whether they are upsampled with half-pixel centers, not
            with aligned corners.
    """

    values: tf.Tensor
    are_probabilities: bool = False
    is_half_pixel: bool = False


class SemanticMap(NamedTuple):
    """The winning class of every pixel.

    Attributes:
        packed: float32 [H, W], 2 * (C - class) + probability.
        num_classes: C.
    """

    packed: tf.Tensor
    num_classes: int

    @property
    def category(self) -> tf.Tensor:
        """int32 [H, W] in 0..C-1, the first of equal classes."""
        # A class whose probability is 1 is still below the next one.
        rank = tf.cast(self.packed * 0.5, tf.int32)
        return tf.clip_by_value(
            self.num_classes - rank, 0, self.num_classes - 1
        )

    @property
    def probability(self) -> tf.Tensor:
        """float32 [H, W] in 0..1, the probability of the class."""
        rank = tf.cast(self.packed * 0.5, tf.int32)
        return self.packed - 2.0 * tf.cast(rank, tf.float32)


def compute_semantic_map(
    scores: Scores, size: tuple[Size, Size], valid_height: tf.Tensor
) -> SemanticMap:
    """Computes class and probability at `size` from scores of any size.

    Args:
        scores: Logits or probabilities.
        size: (H, W).
        valid_height: int32, rows from here on may be left out (class C - 1);
            not a constant.
    """
    packed = _reduce_classes(
        scores,
        size,
        valid_height,
        lambda values: _pack_winner(values, scores.are_probabilities),
    )
    return SemanticMap(packed, compilation.sizes(scores.values)[2])


def compute_largest(
    values_hwc: tf.Tensor, size: tuple[Size, Size], valid_height: tf.Tensor
) -> tf.Tensor:
    """Computes the largest value of all channels: float32 [H, W].

    Args:
        values_hwc: float32 [h, w, C].
        size: (H, W).
        valid_height: int32, rows from here on may be left out (0); not a
            constant.
    """

    def find_largest(values: Sequence[tf.Tensor]) -> tf.Tensor:
        largest = values[0]
        for value in values[1:]:
            largest = tf.maximum(largest, value)
        return largest

    return _reduce_classes(Scores(values_hwc), size, valid_height, find_largest)


Reduce = Callable[[Sequence[tf.Tensor]], tf.Tensor]


def _reduce_classes(
    scores: Scores,
    size: tuple[Size, Size],
    valid_height: tf.Tensor,
    reduce: Reduce,
) -> tf.Tensor:
    """Reduces a list of C maps at `size` to one: float32 [H, W]."""
    source = compilation.sizes(scores.values)
    if compilation.are_known_equal(source[:2], size):
        return compilation.compute_once(
            valid_height,
            lambda: reduce(tf.unstack(scores.values, axis=-1)),
            size,
            tf.float32,
        )
    return _reduce_strips(scores, size, valid_height, reduce)


def _reduce_strips(
    scores: Scores,
    size: tuple[Size, Size],
    valid_height: tf.Tensor,
    reduce: Reduce,
) -> tf.Tensor:
    """Reduces upsampled maps; see `_reduce_classes`."""
    height, width, num_classes = compilation.sizes(scores.values)
    half = scores.is_half_pixel
    plan = upsampling.plan_columns(width, size[1], is_half_pixel=half)
    # Rows of one class are contiguous, so that they can be widened.
    scores_hcw = tf.transpose(scores.values, [0, 2, 1])
    scores_hcw = upsampling.pad_rows(plan, scores_hcw)
    num_strips, strip_height = _plan_strips(size[0], width * num_classes)
    row = tf.range(num_strips * strip_height)
    row = tf.reshape(tf.minimum(row, size[0] - 1), [num_strips, strip_height])
    taps = upsampling.compute_taps(height, size[0], is_half_pixel=half)
    taps = upsampling.Taps(*(tf.gather(x, row) for x in taps))

    def reduce_strip(index: tf.Tensor) -> tf.Tensor:
        rows = upsampling.interpolate(
            tf.gather(scores_hcw, tf.gather(taps.lower, index)),
            tf.gather(scores_hcw, tf.gather(taps.upper, index)),
            tf.gather(taps.fraction, index)[:, tf.newaxis, tf.newaxis],
        )
        return upsampling.widen(
            plan,
            lambda expand: reduce(
                [expand(rows[:, c]) for c in range(num_classes)]
            ),
        )

    def visit(index: tf.Tensor) -> tf.Tensor:
        phases = compilation.compute_once(
            valid_height - index * strip_height,
            lambda: reduce_strip(index),
            [strip_height, *compilation.sizes(plan.taps.fraction)],
            tf.float32,
        )
        return upsampling.interleave(plan, phases)

    shape = [strip_height, size[1]]
    strips = tf.map_fn(
        visit,
        tf.range(num_strips),
        fn_output_signature=tf.TensorSpec(
            [n if isinstance(n, int) else None for n in shape], tf.float32
        ),
        parallel_iterations=1,
    )
    return tf.reshape(strips, [num_strips * strip_height, size[1]])[: size[0]]


def _plan_strips(height: Size, row_values: Size) -> tuple[Size, Size]:
    """Returns the number of strips and their height."""
    most = _STRIP_VALUES // row_values
    most = max(most, 8) if isinstance(most, int) else tf.maximum(most, 8)
    number = compilation.ceil_divide(height, most)
    return number, compilation.ceil_divide(height, number)


def _pack_winner(
    scores: Sequence[tf.Tensor], are_probabilities: bool
) -> tf.Tensor:
    """Returns 2 * (C - winning class) + its probability.

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
    # NaN where a score is NaN.
    return rank + tf.where(probability > 0.0, probability, 0.0)


def compute_probability_at(
    scores: Scores,
    winner: SemanticMap,
    size: tuple[Size, Size],
    place: tuple[tf.Tensor, tf.Tensor],
    category: tf.Tensor,
) -> tf.Tensor:
    """Computes the probabilities of given classes at some pixels.

    Args:
        scores: Scores from which `winner` was computed.
        winner: The winning classes and their probabilities at the pixels, [N].
        size: (H, W).
        place: int32 [N] each, row and column.
        category: int32 [N], the classes.

    Returns:
        float32 [N] in 0..1.
    """
    sample = _sample(scores, size, place, category)
    if scores.are_probabilities:
        other = tf.clip_by_value(sample, 0.0, 1.0)
    else:
        sample -= _sample(scores, size, place, winner.category)
        other = tf.exp(tf.minimum(sample, 0.0)) * winner.probability
    return tf.where(category == winner.category, winner.probability, other)


def _sample(
    scores: Scores,
    size: tuple[Size, Size],
    place: tuple[tf.Tensor, tf.Tensor],
    category: tf.Tensor,
) -> tf.Tensor:
    """Reads the upsampled scores of given classes at given pixels: [N]."""
    height, width, num_classes = compilation.sizes(scores.values)
    flat = tf.reshape(scores.values, [-1])

    def read(y: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        return tf.gather(flat, (y * width + x) * num_classes + category)

    if compilation.are_known_equal((height, width), size):
        return read(*place)
    y, x = (
        upsampling.Taps(*(tf.gather(part, index) for part in taps))
        for taps, index in zip(
            (
                upsampling.compute_taps(
                    length, target, is_half_pixel=scores.is_half_pixel
                )
                for length, target in zip((height, width), size, strict=True)
            ),
            place,
            strict=True,
        )
    )
    left, right = (
        upsampling.interpolate(
            read(y.lower, side), read(y.upper, side), y.fraction
        )
        for side in (x.lower, x.upper)
    )
    return upsampling.interpolate(left, right, x.fraction)
