# SPDX-License-Identifier: Apache-2.0
"""Pixels to instances: each pixel goes to the center nearest to its vote.

Comparing every pixel with every center costs time and memory in proportion to
their product. The image is cut into tiles; the votes of a tile lie in a box,
and only centers that can be nearest to a point of the box are compared with
its pixels. The result is exact.

H, W: image size; T tiles of _TILE_HEIGHT x _TILE_WIDTH pixels; K centers.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from deeplab2_like.postprocess import centers as centers_lib
from deeplab2_like.postprocess import compilation

_TILE_HEIGHT = 64
_TILE_WIDTH = 128
# Centers that are compared with the pixels of a tile at once.
_CENTERS_PER_STEP = 8
# Votes are held within this many pixels of the origin, where their squares
# are numbers.
_FARTHEST = 1e6
_INFINITY = np.float32(np.inf)


class _Tiles(NamedTuple):
    """The pixels by tiles.

    Attributes:
        vote_y: float32 [T, height, width], row that the pixel votes for.
        vote_x: float32 [T, height, width], column.
        is_thing: bool [T, height, width].
    """

    vote_y: tf.Tensor
    vote_x: tf.Tensor
    is_thing: tf.Tensor


def group_pixels(
    centers: centers_lib.Centers,
    offset_2hw: tf.Tensor,
    is_thing_hw: tf.Tensor,
) -> tf.Tensor:
    """Gives each thing pixel the number of the center it votes for.

    Panoptic-DeepLab (arXiv:1911.10194), section 3.3; the distances are
    deeplab2's: float32 square roots, of equally near centers the first.

    Args:
        centers: Centers of the image.
        offset_2hw: float32 [2, H, W], (dy, dx) from each pixel to its
            center, in pixels. Not a number counts as 0.
        is_thing_hw: bool [H, W], pixels of thing classes.

    Returns:
        int32 [H, W]: 1 + index of the center; 0 for other pixels, and
        everywhere if there is no center.
    """
    size = compilation.sizes(is_thing_hw)
    return compilation.compute_once(
        centers.count,
        lambda: _group(centers, offset_2hw, is_thing_hw),
        size,
        tf.int32,
    )


def _group(
    centers: centers_lib.Centers,
    offset_2hw: tf.Tensor,
    is_thing_hw: tf.Tensor,
) -> tf.Tensor:
    """Does what `group_pixels` does, by tiles."""
    height, width = compilation.sizes(is_thing_hw)
    rows = compilation.ceil_divide(height, _TILE_HEIGHT)
    columns = compilation.ceil_divide(width, _TILE_WIDTH)
    padding = [
        [0, rows * _TILE_HEIGHT - height],
        [0, columns * _TILE_WIDTH - width],
    ]

    def cut(values: tf.Tensor) -> tf.Tensor:
        values = tf.reshape(
            tf.pad(values, padding),
            [rows, _TILE_HEIGHT, columns, _TILE_WIDTH],
        )
        values = tf.transpose(values, [0, 2, 1, 3])
        return tf.reshape(values, [-1, _TILE_HEIGHT, _TILE_WIDTH])

    y = tf.cast(tf.range(height), tf.float32)[:, tf.newaxis]
    x = tf.cast(tf.range(width), tf.float32)
    tiles = _Tiles(
        cut(_vote(y, offset_2hw[0])),
        cut(_vote(x, offset_2hw[1])),
        cut(is_thing_hw),
    )
    numbers = _group_tiles(centers, tiles)
    numbers = tf.where(tiles.is_thing, numbers, 0)
    numbers = tf.reshape(numbers, [rows, columns, _TILE_HEIGHT, _TILE_WIDTH])
    numbers = tf.transpose(numbers, [0, 2, 1, 3])
    numbers = tf.reshape(numbers, [rows * _TILE_HEIGHT, -1])
    return numbers[:height, :width]


def _vote(coordinate: tf.Tensor, offset_hw: tf.Tensor) -> tf.Tensor:
    is_number = offset_hw == offset_hw
    vote = coordinate + tf.where(is_number, offset_hw, 0.0)
    return tf.clip_by_value(vote, -_FARTHEST, _FARTHEST)


def _group_tiles(centers: centers_lib.Centers, tiles: _Tiles) -> tf.Tensor:
    """Numbers the pixels of all tiles: int32 [T, height, width].

    Pixels that are no things get any number.
    """
    is_candidate = _find_candidates(centers, tiles)
    num_candidates = tf.reduce_sum(tf.cast(is_candidate, tf.int32), axis=1)
    tile_order, num_active = compilation.list_true(num_candidates > 0)
    centers_y = tf.cast(centers.y, tf.float32)
    centers_x = tf.cast(centers.x, tf.float32)

    def visit(
        index: tf.Tensor, numbers: tf.TensorArray
    ) -> tuple[tf.Tensor, tf.TensorArray]:
        tile = tf.gather(tile_order, index)
        candidates, count = compilation.list_true(tf.gather(is_candidate, tile))
        number = _find_nearest(
            tf.gather(tiles.vote_y, tile),
            tf.gather(tiles.vote_x, tile),
            lambda steps: _take_centers(
                centers_y, centers_x, candidates, count, steps
            ),
            count,
        )
        return index + 1, numbers.write(tile, number)

    numbers = tf.TensorArray(
        tf.int32,
        size=compilation.sizes(tiles.vote_y)[0],
        element_shape=[_TILE_HEIGHT, _TILE_WIDTH],
    )
    _, numbers = tf.while_loop(
        lambda index, _: index < num_active,
        visit,
        (0, numbers),
        parallel_iterations=1,
    )
    return numbers.stack()


def _find_candidates(centers: centers_lib.Centers, tiles: _Tiles) -> tf.Tensor:
    """Finds the centers that can be nearest to a vote of a tile.

    Returns:
        bool [T, K]; all False for tiles without things.
    """

    def bound(
        votes: tf.Tensor,
        choose: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
        reduce: Callable[..., tf.Tensor],
        neutral: np.float32,
    ) -> tf.Tensor:
        votes = tf.where(tiles.is_thing, votes, neutral)
        # By halves: XLA does not vectorize its own reduction.
        rows = _TILE_HEIGHT
        while rows > 1:
            rows //= 2
            votes = choose(votes[:, :rows], votes[:, rows : 2 * rows])
        return reduce(votes, axis=[1, 2])[:, tf.newaxis]

    def measure(
        votes: tf.Tensor, places: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        low = bound(votes, tf.minimum, tf.reduce_min, _INFINITY)
        high = bound(votes, tf.maximum, tf.reduce_max, -_INFINITY)
        places = tf.cast(places, tf.float32)
        nearest = tf.maximum(tf.maximum(low - places, places - high), 0.0)
        farthest = tf.maximum(tf.abs(low - places), tf.abs(high - places))
        return tf.square(nearest), tf.square(farthest), low <= high

    near_y, far_y, has_things = measure(tiles.vote_y, centers.y)
    near_x, far_x, _ = measure(tiles.vote_x, centers.x)
    is_center = tf.range(tf.size(centers.y)) < centers.count
    # Every vote has a center at this distance or nearer. The slack is far
    # more than the rounding of a distance.
    reached = tf.reduce_min(
        tf.where(is_center, far_y + far_x, _INFINITY), axis=1, keepdims=True
    )
    is_near = near_y + near_x <= reached * (1.0 + 1e-5) + 1e-3
    return is_near & is_center & has_things


def _take_centers(
    centers_y: tf.Tensor,
    centers_x: tf.Tensor,
    candidates: tf.Tensor,
    count: tf.Tensor,
    steps: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Gives number, row and column of some candidates; rows far away if none.

    Args:
        centers_y: float32 [K].
        centers_x: float32 [K].
        candidates: int32 [K], from `list_true`.
        count: int32, number of candidates.
        steps: int32 [U], which candidates.
    """
    places = tf.minimum(steps, tf.size(candidates) - 1)
    center = tf.gather(candidates, places)
    center = tf.minimum(center, tf.size(centers_y) - 1)
    y = tf.where(steps < count, tf.gather(centers_y, center), 1e15)
    return center + 1, y, tf.gather(centers_x, center)


def _find_nearest(
    vote_y: tf.Tensor,
    vote_x: tf.Tensor,
    take_centers: Callable[[tf.Tensor], tuple[tf.Tensor, ...]],
    count: tf.Tensor,
) -> tf.Tensor:
    """Finds the nearest candidate of each vote.

    Args:
        vote_y: float32 [height, width].
        vote_x: float32 [height, width].
        take_centers: Gives number, y and x of candidates by their index.
        count: int32, number of candidates, at least 1.

    Returns:
        int32 [height, width], number of the candidate.
    """

    def compare(
        first: tf.Tensor, best: tf.Tensor, number: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        numbers, y, x = take_centers(first + tf.range(_CENTERS_PER_STEP))
        for step in range(_CENTERS_PER_STEP):
            distance = tf.sqrt(
                compilation.rounded_square(vote_y - y[step])
                + compilation.rounded_square(vote_x - x[step])
            )
            is_nearer = distance < best
            best = tf.where(is_nearer, distance, best)
            number = tf.where(is_nearer, numbers[step], number)
        return first + _CENTERS_PER_STEP, best, number

    # The last step is outside, where the distance is no longer needed.
    state = tf.while_loop(
        lambda first, *_: first + _CENTERS_PER_STEP < count,
        compare,
        (
            tf.constant(0),
            tf.fill(tf.shape(vote_y), _INFINITY),
            tf.zeros_like(vote_y, tf.int32),
        ),
        parallel_iterations=1,
    )
    return compare(*state)[2]
