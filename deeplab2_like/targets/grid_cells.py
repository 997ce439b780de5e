# SPDX-License-Identifier: Apache-2.0
"""Training targets of SOLOv2: the objects that are assigned to cells.

Wang et al., "SOLOv2" (arXiv:2003.10152) and "SOLO" (arXiv:1912.04488), section
3.3.1: an object is assigned to the cells around its center of mass, which
predict its class and its mask, in each grid whose range of sizes contains its
size. All shapes are static.

M slots for objects; L grids of S x S cells; G cells of all grids, grid by
grid, row by row; P places for pairs of a cell and an object.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from deeplab2_like.config.solov2_grids import GRIDS, RANGES

# Steps (y, x) from the cell of a center to those that it may be assigned to.
_STEPS = np.array([[y, x] for y in (-1, 0, 1) for x in (-1, 0, 1)], np.int32)
_NEAREST_FIRST = np.argsort(np.abs(_STEPS).sum(axis=1), kind="stable")
# The fractional parts of its multiples are spread evenly.
_GOLDEN = (5**0.5 - 1) / 2


@dataclasses.dataclass(frozen=True)
class GridRules:
    """The rules by which objects are assigned to cells.

    Attributes:
        grids: S of each grid.
        ranges: Smallest and largest size of the objects of each grid.
        center_share: Share of the box of an object, along each axis, that is
            covered by the cells that it is assigned to.
        max_pairs: P. If there are more pairs, each object keeps equally many,
            nearest to its center; if there are more objects, some keep none.
    """

    max_pairs: int
    grids: Sequence[int] = GRIDS
    ranges: Sequence[Sequence[float]] = RANGES
    center_share: float = 0.2

    def __post_init__(self):
        if len(self.grids) != len(self.ranges):
            raise ValueError(
                f"There are {len(self.grids)} grids and {len(self.ranges)} "
                "ranges of sizes - give one range for each grid."
            )

    @property
    def num_cells(self) -> int:
        """G, the number of cells of all grids."""
        return sum(side * side for side in self.grids)

    @property
    def first_cells(self) -> np.ndarray:
        """int32 [L], the first cell of each grid."""
        counts = [side * side for side in self.grids]
        return np.cumsum([0, *counts[:-1]]).astype(np.int32)


class Objects(NamedTuple):
    """Objects of an image.

    Attributes:
        center: float32 [M, 2], center of mass (y, x) in pixels, 0 at the
            first pixel.
        box: float32 [M, 4], (y1, x1, y2, x2) in pixels.
        category: int32 [M], class; -1 in empty slots.
    """

    center: tf.Tensor
    box: tf.Tensor
    category: tf.Tensor


def find_centers(instance_hw: tf.Tensor, max_instances: int) -> tf.Tensor:
    """Computes the center of mass of each object.

    Args:
        instance_hw: int32 [H, W], 1 + slot; 0 where there is no object.
        max_instances: M.

    Returns:
        float32 [M, 2], (y, x) in pixels; 0 for empty slots.
    """
    slot = tf.reshape(instance_hw, [-1])
    pixel = tf.range(tf.size(slot))
    width = tf.shape(instance_hw)[1]
    # As integers, so that sums are exact.
    sums = [
        tf.math.unsorted_segment_sum(
            tf.cast(values, tf.int64), slot, max_instances + 1
        )[1:]
        for values in (pixel // width, pixel % width, tf.ones_like(pixel))
    ]
    y, x, area = (tf.cast(total, tf.float64) for total in sums)
    center = tf.math.divide_no_nan(
        tf.stack([y, x], axis=1), area[:, tf.newaxis]
    )
    return tf.cast(center, tf.float32)


def compute_cell_targets(
    objects: Objects, size: tuple, rules: GridRules
) -> dict[str, tf.Tensor]:
    """Computes the targets of one image.

    An object without pixels must be an empty slot. A cell with several objects
    has the masks of all of them, and the class of the one in the last slot.

    Args:
        objects: The objects.
        size: (height, width) of the image, integers or int32 scalars.
        rules: The rules of the assignment.

    Returns:
        * cell_class: int32 [G], class; -1 for no object.
        * mask_cell: int32 [P], the cell of a pair, pairs in the order of
          grids, objects and cells.
        * mask_slot: int32 [P], the slot of the object of a pair.
        * is_mask: bool [P], the place holds a pair.
        * num_pairs: int32 scalar, number of all pairs, with those that have
          no place.
    """
    cell, is_pair = _list_pairs(objects, size, rules)
    number = int(np.prod(cell.shape))
    chosen = _choose_pairs(is_pair, rules.max_pairs)
    is_mask = chosen < number
    chosen = tf.minimum(chosen, number - 1)
    slots = tf.broadcast_to(tf.range(cell.shape[1])[:, tf.newaxis], cell.shape)
    mask_cell, mask_slot = (
        tf.where(is_mask, tf.gather(tf.reshape(x, [number]), chosen), 0)
        for x in (cell, slots)
    )
    return {
        "cell_class": _find_classes(objects, cell, is_pair, rules),
        "mask_cell": mask_cell,
        "mask_slot": mask_slot,
        "is_mask": is_mask,
        "num_pairs": tf.reduce_sum(tf.cast(is_pair, tf.int32)),
    }


def _choose_pairs(is_pair: tf.Tensor, max_pairs: int) -> tf.Tensor:
    """Chooses the pairs that have a place.

    Every object has one place before any has a second. In the last round only
    some objects have one, which are spread evenly over the slots.

    Args:
        is_pair: bool [L, M, 9], from `_list_pairs`.
        max_pairs: P.

    Returns:
        int32 [P], ascending indices into the flat `is_pair`; its size in
        places that hold no pair.
    """
    num_grids, num_slots, num_steps = is_pair.shape
    number = num_grids * num_slots * num_steps
    # Of an object: the nearest cells of all grids first.
    flat = np.arange(number, dtype=np.int32).reshape(is_pair.shape)
    flat = flat[..., _NEAREST_FIRST].transpose(1, 2, 0).reshape(num_slots, -1)
    is_there = tf.gather(tf.reshape(is_pair, [number]), flat)
    turn = tf.cumsum(tf.cast(is_there, tf.int32), axis=1, exclusive=True)
    spread = np.argsort(np.argsort(np.arange(num_slots) * _GOLDEN % 1.0))
    rank = turn * num_slots + spread.astype(np.int32)[:, np.newaxis]
    none = np.int32(2**31 - 1)
    rank = tf.reshape(tf.where(is_there, rank, none), [number])
    limit = min(max_pairs, number)
    best = tf.math.top_k(-rank, limit)
    chosen = tf.gather(tf.constant(flat.ravel()), best.indices)
    chosen = tf.sort(tf.where(best.values > -none, chosen, number))
    return tf.pad(chosen, [[0, max_pairs - limit]], constant_values=number)


def _list_pairs(objects: Objects, size: tuple, rules: GridRules):
    """Lists the cells around the center of each object, in each grid.

    Returns:
        int32 [L, M, 9], the cells, row by row; bool [L, M, 9], the object is
        assigned to the cell.
    """
    height, width = objects.box[:, 2:3], objects.box[:, 3:4]
    extent = tf.concat([height, width], axis=1) - objects.box[:, :2]
    side = tf.sqrt(extent[:, 0] * extent[:, 1])
    half = 0.5 * rules.center_share * extent
    scale = 1.0 / tf.cast(tf.stack(size), tf.float32)
    grid = tf.constant(rules.grids, tf.float32)[:, tf.newaxis, tf.newaxis]
    center, first, last = (
        tf.cast(tf.floor((objects.center + shift) * scale * grid), tf.int32)
        for shift in (0.0, -half, half)
    )
    most = tf.cast(grid, tf.int32) - 1
    cell = center[:, :, tf.newaxis] + _STEPS
    is_pair = (cell >= tf.maximum(first, 0)[:, :, tf.newaxis]) & (
        cell <= tf.minimum(last, most)[:, :, tf.newaxis]
    )
    ranges = tf.constant(rules.ranges, tf.float32)[:, tf.newaxis]
    is_of_grid = (side >= ranges[..., 0]) & (side <= ranges[..., 1])
    is_of_grid &= objects.category >= 0
    is_pair = tf.reduce_all(is_pair, axis=-1) & is_of_grid[..., tf.newaxis]
    sides = tf.constant(rules.grids, tf.int32)[:, tf.newaxis, tf.newaxis]
    index = cell[..., 0] * sides + cell[..., 1]
    index += tf.constant(rules.first_cells)[:, tf.newaxis, tf.newaxis]
    return index, is_pair


def _find_classes(
    objects: Objects, cell: tf.Tensor, is_pair: tf.Tensor, rules: GridRules
) -> tf.Tensor:
    """Returns the class of each cell, of the last object: int32 [G]."""
    slots = tf.broadcast_to(tf.range(cell.shape[1])[:, tf.newaxis], cell.shape)
    last = tf.math.unsorted_segment_max(
        tf.reshape(slots, [-1]),
        tf.reshape(tf.where(is_pair, cell, -1), [-1]),
        rules.num_cells,
    )
    # A segment without a value has the smallest number.
    category = tf.gather(objects.category, tf.maximum(last, 0))
    return tf.where(last >= 0, category, -1)


def shrink_instances(instance_bhw: tf.Tensor, size: tuple) -> tf.Tensor:
    """Returns the instance numbers that belong to the pixels at stride 4.

    Along an axis with exactly 4 pixels of the image for each one at stride 4,
    these are the two in the middle of the four; else every fourth pixel of
    the image, as in the backbones.

    Args:
        instance_bhw: int32 [B, H, W].
        size: (h, w), at stride 4.

    Returns:
        int32 [B, h, w, n], n = 4, 2 or 1, by the kinds of the two axes.
    """
    maps = [instance_bhw]
    for axis, number in ((1, size[0]), (2, size[1])):
        maps = [
            part
            for whole in maps
            for part in _take_fourths(whole, number, axis)
        ]
    return tf.stack(maps, axis=-1)


def _take_fourths(whole: tf.Tensor, number: int, axis: int) -> list[tf.Tensor]:
    starts = (1, 2) if whole.shape[axis] == 4 * number else (0,)
    if axis == 1:
        return [whole[:, start::4] for start in starts]
    return [whole[:, :, start::4] for start in starts]


def compute_mask_targets(
    shrunk_bhwn: tf.Tensor, slot_bp: tf.Tensor
) -> tf.Tensor:
    """Computes the masks of some objects at stride 4.

    Args:
        shrunk_bhwn: int32 [B, h, w, n], from `shrink_instances`.
        slot_bp: int32 [B, P], slots of the objects.

    Returns:
        bool [B, P, h, w], at least half of the n numbers are the object's.
    """
    wanted = 1 + slot_bp[:, :, tf.newaxis, tf.newaxis]
    number = shrunk_bhwn.shape[-1]
    count = tf.add_n(
        [
            tf.cast(shrunk_bhwn[:, tf.newaxis, ..., i] == wanted, tf.int32)
            for i in range(number)
        ]
    )
    return 2 * count >= number
