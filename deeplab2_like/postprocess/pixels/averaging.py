# SPDX-License-Identifier: Apache-2.0
"""Mean probability of the class of each segment over its pixels.

Nearly everywhere the class of the segment is the winning class of the pixel,
whose probability is known. So the probabilities of the winners are summed up,
and the sums corrected by those of the few pixels of other classes.

Sums are exact, and equal in any order: probabilities are rounded to units of
1 / UNITS and summed as integers.

H, W: image size; N slots, as in `merging`.
"""

from typing import NamedTuple

import tensorflow as tf

from deeplab2_like.graph import compilation
from deeplab2_like.graph.compilation import Size
from deeplab2_like.postprocess.pixels import semantic

UNITS = 1 << 15
# Pixels, one below the other, that are corrected together if one of them is of
# another class.
_BLOCK = 32
_BLOCKS_PER_PASS = 512


class UnitSums(NamedTuple):
    """Sums of numbers in 0..1, without overflow.

    Attributes:
        whole: int32 [N].
        part: int32 [N], further units, not negative.
    """

    whole: tf.Tensor
    part: tf.Tensor

    def add_units(self, units: tf.Tensor) -> "UnitSums":
        """Adds int32 [N], in units; they may be negative."""
        return UnitSums(self.whole + units // UNITS, self.part + units % UNITS)

    def divide(self, area: tf.Tensor) -> tf.Tensor:
        """Returns the means over int32 [N] pixels; 0 where the area is 0."""
        total = tf.cast(self.whole, tf.float32)
        total += tf.cast(self.part, tf.float32) * (1.0 / UNITS)
        return tf.math.divide_no_nan(total, tf.cast(area, tf.float32))


def average_by_slot(
    values_hw: tf.Tensor, slot_hw: tf.Tensor, area: tf.Tensor
) -> tf.Tensor:
    """Averages values over the pixels of each slot.

    Args:
        values_hw: float32 [H, W] in 0..1; they are rounded to 1 / UNITS.
        slot_hw: int32 [H, W] in 0..N-1.
        area: int32 [N], pixels of each slot.

    Returns:
        float32 [N]; 0 where the area is 0.
    """
    return _sum_by_slot(values_hw, slot_hw, area.shape[0]).divide(area)


def average_class_probability(
    scores: semantic.Scores,
    winner: semantic.SemanticMap,
    slot_hw: tf.Tensor,
    slot_category: tf.Tensor,
    area: tf.Tensor,
) -> tf.Tensor:
    """Averages the probability of each slot's class over its pixels.

    Args:
        scores: Scores from which `winner` was computed.
        winner: The winning classes and their probabilities, [H, W].
        slot_hw: int32 [H, W] in 0..N-1; the last slot is outside of the
            image.
        slot_category: int32 [N], class of each slot.
        area: int32 [N], pixels of each slot.

    Returns:
        float32 [N] in 0..1; 0 where the area is 0, undefined for the last slot.
    """
    sums = _sum_by_slot(winner.probability, slot_hw, area.shape[0])
    pixels = _Pixels(scores, winner, slot_hw, slot_category)
    return _correct(sums, pixels).divide(area)


def _sum_by_slot(
    values_hw: tf.Tensor, slot_hw: tf.Tensor, num_slots: int
) -> UnitSums:
    height, width = compilation.sizes(slot_hw)
    # By blocks of so few rows that the sums of units do not overflow.
    rows = _divide(UNITS, width)
    num_blocks = compilation.ceil_divide(height, rows)
    key = tf.range(height)[:, tf.newaxis] // rows * num_slots + slot_hw
    sums = tf.math.unsorted_segment_sum(
        tf.reshape(_to_units(values_hw), [-1]),
        tf.reshape(key, [-1]),
        num_blocks * num_slots,
    )
    sums = tf.reshape(sums, [num_blocks, num_slots])
    return UnitSums(
        tf.reduce_sum(sums // UNITS, axis=0),
        tf.reduce_sum(sums % UNITS, axis=0),
    )


def _to_units(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(values * float(UNITS) + 0.5, tf.int32)


def _divide(value: int, by: Size) -> Size:
    """Returns value // by, at least 1."""
    if isinstance(by, int):
        return max(1, value // by)
    return tf.maximum(1, value // by)


class _Pixels(NamedTuple):
    """The maps, [H, W], or their values at single pixels."""

    scores: semantic.Scores
    winner: semantic.SemanticMap
    slot: tf.Tensor
    slot_category: tf.Tensor

    @property
    def size(self) -> tuple[Size, Size]:
        """(H, W)."""
        height, width = compilation.sizes(self.slot)
        return height, width

    def are_others(self) -> tf.Tensor:
        """Returns where the slot's class is not the winner: bool [H, W]."""
        outside = tf.size(self.slot_category) - 1
        category = tf.gather(self.slot_category, self.slot)
        is_other = category != self.winner.category
        return is_other & (self.slot != outside)

    def read(self, y: tf.Tensor, x: tf.Tensor) -> "_Pixels":
        """Reads slot and winner at rows and columns, int32 [M] each."""
        place = y * self.size[1] + x
        packed = tf.gather(tf.reshape(self.winner.packed, [-1]), place)
        slot = tf.gather(tf.reshape(self.slot, [-1]), place)
        return self._replace(
            winner=self.winner._replace(packed=packed), slot=slot
        )


def _correct(sums: UnitSums, pixels: _Pixels) -> UnitSums:
    """Replaces the winner's probability by that of the slot's class."""
    height, width = pixels.size
    padding = compilation.ceil_divide(height, _BLOCK) * _BLOCK - height
    is_other = tf.pad(pixels.are_others(), [[0, padding], [0, 0]])
    is_other = tf.reshape(is_other, [-1, _BLOCK, width])
    is_other = compilation.reduce_middle(is_other, tf.logical_or)
    block, count = compilation.list_true(tf.reshape(is_other, [-1]))

    def visit(
        first: tf.Tensor, *sums: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        step = first + tf.range(_BLOCKS_PER_PASS)
        chosen = tf.gather(block, tf.minimum(step, tf.size(block) - 1))
        # All rows of a block, then the next block. There are none beyond
        # the last block, and rows of padding are no pixels.
        y = chosen // width * _BLOCK + tf.range(_BLOCK)[:, tf.newaxis]
        is_pixel = (step < count) & (y < height)
        x = tf.broadcast_to(chosen % width, [_BLOCK, _BLOCKS_PER_PASS])
        units = _sum_changes(
            pixels,
            *(
                tf.reshape(values, [-1])
                for values in (tf.minimum(y, height - 1), x, is_pixel)
            ),
        )
        return first + _BLOCKS_PER_PASS, *UnitSums(*sums).add_units(units)

    _, whole, part = tf.while_loop(
        lambda first, *_: first < count,
        visit,
        (0, *sums),
        parallel_iterations=1,
    )
    return UnitSums(whole, part)


def _sum_changes(
    pixels: _Pixels, y: tf.Tensor, x: tf.Tensor, is_pixel: tf.Tensor
) -> tf.Tensor:
    """Sums the changes at some pixels: int32 [N], in units.

    Args:
        pixels: The maps.
        y: int32 [M], row. M * UNITS must not overflow.
        x: int32 [M], column.
        is_pixel: bool [M]; other places are left out.
    """
    some = pixels.read(y, x)
    other = semantic.compute_probability_at(
        pixels.scores,
        some.winner,
        pixels.size,
        (y, x),
        tf.gather(pixels.slot_category, some.slot),
    )
    change = _to_units(other) - _to_units(some.winner.probability)
    return tf.math.unsorted_segment_sum(
        tf.where(is_pixel, change, 0),
        some.slot,
        tf.size(pixels.slot_category),
    )
