# SPDX-License-Identifier: Apache-2.0
"""Grouping of pixels: each belongs to the center nearest to its vote.

The vote of a pixel is its place plus its offset. Comparing every pixel with
every center costs time and memory in proportion to their product. So only tiles
with things are processed; the votes of a tile lie in a box, and only centers
that can be nearest to a point of the box are compared with its pixels.
Accelerators compare the whole image with a few centers at a time, which is
faster there than many small steps. Both ways give the same, exact result.

H, W: image size; K centers. A tile has HEIGHT x WIDTH pixels, see `tiles`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from deeplab2_like.graph import compilation, device, exact_floats
from deeplab2_like.postprocess.pixels import centers as centers_lib
from deeplab2_like.postprocess.pixels import tiles

# Centers that are compared with the pixels of a tile at once.
_CENTERS_PER_STEP = 8
# Votes are clipped to this many pixels from the origin, so that their squares
# are finite.
_FARTHEST = 1e6
_INFINITY = np.float32(np.inf)


class _Votes(NamedTuple):
    """The pixels of a tile, or of the image.

    Attributes:
        y: float32 [HEIGHT, WIDTH], row that the pixel votes for.
        x: float32 [HEIGHT, WIDTH], column.
        is_thing: bool [HEIGHT, WIDTH].
    """

    y: tf.Tensor
    x: tf.Tensor
    is_thing: tf.Tensor


def group_pixels(
    centers: centers_lib.Centers,
    offset_2hw: tf.Tensor,
    is_thing_hw: tf.Tensor,
) -> tf.Tensor:
    """Assigns each thing pixel to the center nearest to its vote.

    Panoptic-DeepLab (arXiv:1911.10194), section 3.3; the distances are
    deeplab2's: float32 square roots, of equally near centers the first.

    Args:
        centers: Centers of the image.
        offset_2hw: float32 [2, H, W], (dy, dx) from each pixel to its
            center, in pixels. NaN counts as 0.
        is_thing_hw: bool [H, W], pixels of thing classes.

    Returns:
        int32 [H, W]: 1 + index of the center; 0 for other pixels, and
        everywhere if there is no center.
    """
    group = _group_whole if device.is_accelerator() else _group_tiles
    return compilation.compute_once(
        centers.count,
        lambda: group(centers, offset_2hw, is_thing_hw),
        compilation.sizes(is_thing_hw),
        tf.int32,
    )


def _group_whole(
    centers: centers_lib.Centers,
    offset_2hw: tf.Tensor,
    is_thing_hw: tf.Tensor,
) -> tf.Tensor:
    """Groups the pixels of the whole image at once; see `group_pixels`."""
    height, width = compilation.sizes(is_thing_hw)
    rows = tf.cast(tf.range(height), tf.float32)
    votes = _Votes(
        _vote(rows[:, tf.newaxis], offset_2hw[0]),
        _vote(tf.cast(tf.range(width), tf.float32), offset_2hw[1]),
        is_thing_hw,
    )
    centers_y = tf.cast(centers.y, tf.float32)
    centers_x = tf.cast(centers.x, tf.float32)
    everyone = tf.range(tf.size(centers_y))
    number = _find_nearest(
        votes,
        lambda steps: _take_centers(
            centers_y, centers_x, everyone, centers.count, steps
        ),
        centers.count,
    )
    return tf.where(is_thing_hw, number, 0)


def _group_tiles(
    centers: centers_lib.Centers,
    offset_2hw: tf.Tensor,
    is_thing_hw: tf.Tensor,
) -> tf.Tensor:
    """Groups the pixels tile by tile; see `group_pixels`."""
    height, width = compilation.sizes(is_thing_hw)
    grid = tiles.make_grid((height, width))
    offset_2hw = tiles.pad_small(offset_2hw, grid)
    padded_is_thing = tiles.pad_small(is_thing_hw, grid)
    centers_y = tf.cast(centers.y, tf.float32)
    centers_x = tf.cast(centers.x, tf.float32)
    is_center = tf.range(tf.size(centers_y)) < centers.count
    shape = [tiles.HEIGHT, tiles.WIDTH]

    def compute(y: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        offset = tf.slice(offset_2hw, [0, y, x], [2, *shape])
        rows = tf.cast(y + tf.range(tiles.HEIGHT), tf.float32)
        columns = tf.cast(x + tf.range(tiles.WIDTH), tf.float32)
        votes = _Votes(
            _vote(rows[:, tf.newaxis], offset[0]),
            _vote(columns, offset[1]),
            tf.slice(padded_is_thing, [y, x], shape),
        )
        candidates, count = compilation.list_true(
            _find_candidates(centers_y, centers_x, is_center, votes)
        )
        number = _find_nearest(
            votes,
            lambda steps: _take_centers(
                centers_y, centers_x, candidates, count, steps
            ),
            count,
        )
        return tf.where(votes.is_thing, number, 0)

    return tiles.map_tiles(
        grid, grid.any_by_tile(is_thing_hw), compute, tf.int32
    )


def _vote(coordinate: tf.Tensor, offset_hw: tf.Tensor) -> tf.Tensor:
    is_number = offset_hw == offset_hw
    vote = coordinate + tf.where(is_number, offset_hw, 0.0)
    return tf.clip_by_value(vote, -_FARTHEST, _FARTHEST)


def _find_candidates(
    centers_y: tf.Tensor,
    centers_x: tf.Tensor,
    is_center: tf.Tensor,
    votes: _Votes,
) -> tf.Tensor:
    """Finds the centers that can be nearest to a vote of a tile: bool [K].

    Args:
        centers_y: float32 [K].
        centers_x: float32 [K].
        is_center: bool [K]; other places are unused.
        votes: Votes of the tile, at least one of which is of a thing.
    """

    def bound(
        values: tf.Tensor,
        choose: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
        reduce: Callable[..., tf.Tensor],
        neutral: np.float32,
    ) -> tf.Tensor:
        values = tf.where(votes.is_thing, values, neutral)
        return reduce(compilation.reduce_middle(values[tf.newaxis], choose))

    def measure(
        values: tf.Tensor, places: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        low = bound(values, tf.minimum, tf.reduce_min, _INFINITY)
        high = bound(values, tf.maximum, tf.reduce_max, -_INFINITY)
        nearest = tf.maximum(tf.maximum(low - places, places - high), 0.0)
        farthest = tf.maximum(tf.abs(low - places), tf.abs(high - places))
        return tf.square(nearest), tf.square(farthest)

    near_y, far_y = measure(votes.y, centers_y)
    near_x, far_x = measure(votes.x, centers_x)
    # Every vote has a center at this distance or nearer. The margin is far
    # more than the rounding of a distance.
    reached = tf.reduce_min(tf.where(is_center, far_y + far_x, _INFINITY))
    is_near = near_y + near_x <= reached * (1.0 + 1e-5) + 1e-3
    return is_near & is_center


def _take_centers(
    centers_y: tf.Tensor,
    centers_x: tf.Tensor,
    candidates: tf.Tensor,
    count: tf.Tensor,
    steps: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns number, row and column of some candidates.

    Beyond the last candidate, rows are far outside of the image.

    Args:
        centers_y: float32 [K].
        centers_x: float32 [K].
        candidates: int32 [K], from `list_true`.
        count: int32, number of candidates.
        steps: int32 [U], indices of candidates.
    """
    places = tf.minimum(steps, tf.size(candidates) - 1)
    center = tf.gather(candidates, places)
    center = tf.minimum(center, tf.size(centers_y) - 1)
    y = tf.where(steps < count, tf.gather(centers_y, center), 1e15)
    return center + 1, y, tf.gather(centers_x, center)


def _find_nearest(
    votes: _Votes,
    take_centers: Callable[[tf.Tensor], tuple[tf.Tensor, ...]],
    count: tf.Tensor,
) -> tf.Tensor:
    """Finds the nearest candidate of each vote.

    Args:
        votes: Votes of a tile or of the image.
        take_centers: Returns number, y and x of candidates by their index.
        count: int32, number of candidates, at least 1.

    Returns:
        int32 [HEIGHT, WIDTH], number of the candidate.
    """

    def compare(
        first: tf.Tensor, best: tf.Tensor, number: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        numbers, y, x = take_centers(first + tf.range(_CENTERS_PER_STEP))
        for step in range(_CENTERS_PER_STEP):
            distance = tf.sqrt(
                exact_floats.rounded_square(votes.y - y[step])
                + exact_floats.rounded_square(votes.x - x[step])
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
            tf.fill(tf.shape(votes.y), _INFINITY),
            tf.zeros_like(votes.y, tf.int32),
        ),
        parallel_iterations=1,
    )
    return compare(*state)[2]
