# SPDX-License-Identifier: Apache-2.0
"""Masks that may overlap to a map in which each pixel has one instance.

K masks; H, W: size of the image; N tiles of T x T pixels (`mask_pasting`).
"""

import dataclasses
import fractions
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.postprocess import mask_pasting
from deeplab2_like.postprocess.compilation import Size


@dataclasses.dataclass(frozen=True)
class MaskRules:
    """Which masks become instances.

    Attributes:
        score_threshold: Masks of a lower score are left out.
        overlap_threshold: A mask is left out when more than this share of it
            belongs to instances of higher scores.
        mask_threshold: Where a mask is at least that, its pixels are.
    """

    score_threshold: float = 0.5
    overlap_threshold: float = 0.5
    mask_threshold: float = 0.5

    def __post_init__(self):
        if not 0.0 < self.mask_threshold <= 1.0:
            raise errors.ConfigError(
                f"The mask threshold is {self.mask_threshold}. It must be "
                "above 0 and at most 1."
            )

    @property
    def lowest_score(self) -> np.float32:
        """The smallest float32 number that is not below the threshold."""
        lowest = np.float32(self.score_threshold)
        if float(lowest) < self.score_threshold:
            lowest = np.nextafter(lowest, np.float32(np.inf))
        return lowest

    @property
    def largest_overlap(self) -> fractions.Fraction:
        """The overlap threshold as a ratio of small numbers."""
        return fractions.Fraction(self.overlap_threshold).limit_denominator(
            1000
        )


class Placed(NamedTuple):
    """Masks in their places.

    Attributes:
        instance: int32 [H, W], 1 + index of the mask; 0 where there is none.
        is_kept: bool [K], the mask is an instance.
    """

    instance: tf.Tensor
    is_kept: tf.Tensor


def place_masks(
    masks_khw: tf.Tensor,
    boxes_k4: tf.Tensor,
    score_k: tf.Tensor,
    size: tuple[Size, Size],
    valid_size: tf.Tensor,
    rules: MaskRules,
) -> Placed:
    """Gives each pixel to the mask of the highest score that claims it.

    Panoptic segmentation (Kirillov et al., arXiv:1801.00868), section 7.2, as
    in detectron2's combine_semantic_and_instance_outputs: masks are visited
    by decreasing score, equal ones in their order. A mask that is mostly
    taken already is left out; of any other the free part becomes an instance.

    Args:
        masks_khw: float32 [K, h, w] in 0..1, each in the frame of its box.
        boxes_k4: float32 [K, 4], (y1, x1, y2, x2) in pixels.
        score_k: float32 [K]; masks with minus infinity are never instances.
        size: (H, W).
        valid_size: int32 [2], height and width of the part that is image.
        rules: Which masks become instances.
    """
    grid = mask_pasting.TileGrid.of(size)
    masks = mask_pasting.pad_masks(masks_khw)
    (num_masks,) = score_k.shape
    ranked = tf.math.top_k(score_k, num_masks)
    is_high = ranked.values >= rules.lowest_score
    count = tf.reduce_sum(tf.cast(is_high, tf.int32))

    def visit(rank, tiles, is_kept):
        index = ranked.indices[rank]
        placed = mask_pasting.place_mask(
            tf.gather(masks, index), tf.gather(boxes_k4, index), valid_size
        )
        area, taken = _count_pixels(placed, tiles, grid, rules)
        is_instance = (area > 0) & ~_exceeds(taken, area, rules)
        tiles = _claim_pixels(placed, tiles, grid, rules, index, is_instance)
        is_kept = tf.tensor_scatter_nd_update(
            is_kept, [[index]], is_instance[tf.newaxis]
        )
        return rank + 1, tiles, is_kept

    shape = [grid.rows * grid.columns, mask_pasting.TILE, mask_pasting.TILE]
    _, tiles, is_kept = tf.while_loop(
        lambda rank, *_: rank < count,
        visit,
        (0, tf.zeros(shape, tf.int32), tf.zeros([num_masks], tf.bool)),
        parallel_iterations=1,
    )
    return Placed(grid.to_image(tiles), is_kept)


def _exceeds(taken: tf.Tensor, area: tf.Tensor, rules: MaskRules) -> tf.Tensor:
    """Whether taken / area is above the threshold, in whole numbers."""
    limit = rules.largest_overlap
    taken, area = tf.cast(taken, tf.int64), tf.cast(area, tf.int64)
    return taken * limit.denominator > area * limit.numerator


def _count_pixels(
    placed: mask_pasting.PlacedMask,
    tiles: tf.Tensor,
    grid: mask_pasting.TileGrid,
    rules: MaskRules,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Counts the pixels of a mask, and those that are taken: int32."""

    def visit(number, area, taken):
        tile = mask_pasting.find_tile(placed, number)
        drawn = mask_pasting.draw_tile(placed, tile, rules.mask_threshold)
        owner = tf.gather(tiles, tile[0] * grid.columns + tile[1])
        is_taken = drawn & (owner > 0)
        return number + 1, area + _count(drawn), taken + _count(is_taken)

    _, area, taken = tf.while_loop(
        lambda number, *_: number < tf.reduce_prod(placed.num_tiles),
        visit,
        (0, 0, 0),
        parallel_iterations=1,
    )
    return area, taken


def _claim_pixels(
    placed: mask_pasting.PlacedMask,
    tiles: tf.Tensor,
    grid: mask_pasting.TileGrid,
    rules: MaskRules,
    index: tf.Tensor,
    is_instance: tf.Tensor,
) -> tf.Tensor:
    """Gives the free pixels of a mask to it: int32 [N, T, T]."""
    num_tiles = tf.where(is_instance, tf.reduce_prod(placed.num_tiles), 0)

    def visit(number, tiles):
        tile = mask_pasting.find_tile(placed, number)
        drawn = mask_pasting.draw_tile(placed, tile, rules.mask_threshold)
        place = tile[0] * grid.columns + tile[1]
        owner = tf.gather(tiles, place)
        owner = tf.where(drawn & (owner == 0), index + 1, owner)
        return number + 1, tf.tensor_scatter_nd_update(
            tiles, [[place]], owner[tf.newaxis]
        )

    _, tiles = tf.while_loop(
        lambda number, _: number < num_tiles,
        visit,
        (0, tiles),
        parallel_iterations=1,
    )
    return tiles


def _count(flags: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(flags, tf.int32))
