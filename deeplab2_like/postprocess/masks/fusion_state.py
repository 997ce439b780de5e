# SPDX-License-Identifier: Apache-2.0
"""The state of pixels and tiles while masks are fused.

K masks; H, W: size of the image; N tiles of T x T pixels.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from deeplab2_like.graph import compilation
from deeplab2_like.postprocess.masks import sampling
from deeplab2_like.postprocess.masks.pasting import TileGrid

# Bits of the owner in a packed state.
_SHIFT = np.int64(32)
# Unit of the second of two counts; more than the pixels of a tile.
_PAIR = 1 << 15


class State(NamedTuple):
    """The state of pixels, which can be packed into one number each.

    XLA updates one map in place, but copies two that depend on each other.

    Attributes:
        owner: int32 [...], twice the number of the instance (1 + index; 0 for
            none), plus 1 where there is a mask that was kept.
        best: float32 [...], the claim of the instance, or of stuff.
    """

    owner: tf.Tensor
    best: tf.Tensor

    def pack(self) -> tf.Tensor:
        """Returns int64 [...]."""
        high = tf.bitwise.left_shift(widen(self.best), _SHIFT)
        return high + tf.cast(self.owner, tf.int64)

    @classmethod
    def unpack(cls, packed: tf.Tensor) -> "State":
        """Returns the state that was packed to int64 [...]."""
        high = tf.bitwise.right_shift(packed, _SHIFT)
        owner = packed - tf.bitwise.left_shift(high, _SHIFT)
        return cls(tf.cast(owner, tf.int32), narrow(high))


class Tiles(NamedTuple):
    """The state of each pixel and of each tile.

    Attributes:
        pixels: int64 [N, T, T], packed `State`.
        taken: int32 [N], number of pixels with a mask that was kept.
        least: float32 [N], lower bound of the claims of the pixels.
    """

    pixels: tf.Tensor
    taken: tf.Tensor
    least: tf.Tensor

    @classmethod
    def of(cls, best_hw: tf.Tensor, grid: TileGrid) -> "Tiles":
        """Returns the state before the first mask.

        Args:
            best_hw: float32 [H, W], the claim of stuff.
            grid: The tiles.
        """
        best = sampling.cut_tiles(best_hw, grid, beyond=math.inf)
        # Nothing is more than NaN.
        claimed = tf.where(best == best, best, math.inf)
        return cls(
            State(tf.zeros_like(best, tf.int32), best).pack(),
            tf.zeros(tf.shape(best)[:1], tf.int32),
            tf.reduce_min(claimed, axis=[1, 2]),
        )


def widen(values: tf.Tensor) -> tf.Tensor:
    """Returns the bits of float32 values as int64."""
    return tf.cast(tf.bitcast(values, tf.int32), tf.int64)


def narrow(bits: tf.Tensor) -> tf.Tensor:
    """Returns the float32 values of bits from `widen`."""
    return tf.bitcast(tf.cast(bits, tf.int32), tf.float32)


def sum_tile(numbers: tf.Tensor) -> tf.Tensor:
    """Sums int32 [T, T]."""
    return tf.reduce_sum(compilation.reduce_middle(numbers[tf.newaxis], tf.add))


def count_both(
    some: tf.Tensor, others: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Counts true values of two bool [T, T], in one sum."""
    total = sum_tile(
        tf.cast(some, tf.int32) + _PAIR * tf.cast(others, tf.int32)
    )
    return total % _PAIR, total // _PAIR
