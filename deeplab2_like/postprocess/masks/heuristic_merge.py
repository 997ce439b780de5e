# SPDX-License-Identifier: Apache-2.0
"""From masks that may overlap to a map with one instance for each pixel.

K masks; H, W: size of the image; N tiles of T x T pixels, see `pasting`.
"""

from typing import NamedTuple

import tensorflow as tf

from deeplab2_like.graph import compilation
from deeplab2_like.graph.compilation import Size
from deeplab2_like.postprocess.masks import pasting
from deeplab2_like.postprocess.options import MaskRules


class Placed(NamedTuple):
    """Instances of masks.

    Attributes:
        instance: int32 [H, W], 1 + index of the mask; 0 where there is none.
        is_kept: bool [K], the mask is an instance.
    """

    instance: tf.Tensor
    is_kept: tf.Tensor


class _Owners(NamedTuple):
    """Pixels that belong to instances so far.

    Attributes:
        pixel: int32 [N, T, T], 1 + index of the mask; 0 where free.
        taken: int32 [N], number of pixels of each tile that are not free.
    """

    pixel: tf.Tensor
    taken: tf.Tensor


def place_masks(
    masks_khw: tf.Tensor,
    boxes_k4: tf.Tensor,
    score_k: tf.Tensor,
    size: tuple[Size, Size],
    valid_size: tf.Tensor,
    rules: MaskRules,
) -> Placed:
    """Assigns each pixel to the mask with the highest score that covers it.

    Panoptic segmentation (Kirillov et al., arXiv:1801.00868), section 7.2, as
    in detectron2's combine_semantic_and_instance_outputs: masks are visited
    by decreasing score, equal ones in their order. A mask most of whose pixels
    belong to instances already is left out; the free part of any other becomes
    an instance.

    Args:
        masks_khw: float32 [K, h, w] in 0..1, each in the frame of its box.
        boxes_k4: float32 [K, 4], (y1, x1, y2, x2) in pixels.
        score_k: float32 [K]; masks with minus infinity are never instances.
        size: (H, W).
        valid_size: int32 [2], height and width of the part that is image.
        rules: Which masks become instances.
    """
    grid = pasting.TileGrid.of(size)
    masks = pasting.pad_masks(masks_khw)
    (num_masks,) = score_k.shape
    ranked = tf.math.top_k(score_k, num_masks)
    is_high = ranked.values >= rules.lowest_score
    count = tf.reduce_sum(tf.cast(is_high, tf.int32))

    def visit(rank, owners, is_kept):
        index = ranked.indices[rank]
        placed = pasting.place_mask(
            tf.gather(masks, index), tf.gather(boxes_k4, index), valid_size
        )
        kinds = pasting.classify_tiles(placed, grid, rules.mask_threshold)
        area, taken = _count_pixels(placed, kinds, owners, grid, rules)
        is_instance = (area > 0) & ~_exceeds(taken, area, rules)
        owners = _claim_pixels(
            placed,
            (kinds.is_covered | kinds.is_mixed) & is_instance,
            owners,
            grid,
            rules,
            index,
        )
        is_kept = tf.tensor_scatter_nd_update(
            is_kept, [[index]], is_instance[tf.newaxis]
        )
        return rank + 1, owners, is_kept

    number = grid.rows * grid.columns
    owners = _Owners(
        tf.zeros([number, pasting.TILE, pasting.TILE], tf.int32),
        tf.zeros([number], tf.int32),
    )
    _, owners, is_kept = tf.while_loop(
        lambda rank, *_: rank < count,
        visit,
        (0, owners, tf.zeros([num_masks], tf.bool)),
        parallel_iterations=1,
    )
    return Placed(grid.to_image(owners.pixel), is_kept)


def _exceeds(taken: tf.Tensor, area: tf.Tensor, rules: MaskRules) -> tf.Tensor:
    """Returns whether taken / area is above the threshold, in integers."""
    limit = rules.largest_overlap
    taken, area = tf.cast(taken, tf.int64), tf.cast(area, tf.int64)
    return taken * limit.denominator > area * limit.numerator


def _count_pixels(
    placed: pasting.PlacedMask,
    kinds: pasting.TileKinds,
    owners: _Owners,
    grid: pasting.TileGrid,
    rules: MaskRules,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Counts the pixels of a mask, and those that are not free: int32 each."""
    order, count = compilation.list_true(kinds.is_mixed)
    taken = tf.reduce_sum(tf.where(kinds.is_covered, owners.taken, 0))

    def visit(number, area, taken):
        place = order[number]
        drawn = pasting.draw_tile(
            placed, grid.locate(place), rules.mask_threshold
        )
        is_taken = drawn & (tf.gather(owners.pixel, place) > 0)
        return number + 1, area + _count(drawn), taken + _count(is_taken)

    _, area, taken = tf.while_loop(
        lambda number, *_: number < count,
        visit,
        (0, _count(kinds.is_covered) * pasting.TILE**2, taken),
        parallel_iterations=1,
    )
    return area, taken


def _claim_pixels(
    placed: pasting.PlacedMask,
    is_claimed: tf.Tensor,
    owners: _Owners,
    grid: pasting.TileGrid,
    rules: MaskRules,
    index: tf.Tensor,
) -> _Owners:
    """Assigns the free pixels of some tiles, bool [N], to a mask."""
    order, count = compilation.list_true(is_claimed)

    def visit(number, owners):
        place = order[number]
        drawn = pasting.draw_tile(
            placed, grid.locate(place), rules.mask_threshold
        )
        pixel = tf.gather(owners.pixel, place)
        is_new = drawn & (pixel == 0)
        gained = _count(is_new)
        # The pixels depend on the count (by a term of 0), so that XLA counts
        # before it writes, and does not copy them to count later.
        owner = index + 1 + tf.minimum(gained, 0)
        pixel = tf.where(is_new, owner, pixel)
        where = [[place]]
        return number + 1, _Owners(
            tf.tensor_scatter_nd_update(owners.pixel, where, pixel[tf.newaxis]),
            tf.tensor_scatter_nd_add(owners.taken, where, gained[tf.newaxis]),
        )

    _, owners = tf.while_loop(
        lambda number, _: number < count,
        visit,
        (0, owners),
        parallel_iterations=1,
    )
    return owners


def _count(flags: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(flags, tf.int32))
