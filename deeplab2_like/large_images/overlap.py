# SPDX-License-Identifier: Apache-2.0
"""How much tiles must overlap, measured on the image.

Outputs near to the border of a tile lack what lies beyond it. How far that
reaches depends on the weights more than on the architecture, whose receptive
field is often larger than the tile. So the network predicts two tiles that are
shifted by half a tile against each other, at up to three places. In the part
that both show they differ the more the nearer a border is. The rule:

* The difference of a position is the largest of: half the sum of the absolute
  differences of the classes' probabilities, the difference of the heatmaps, and
  the distance of the votes in units of 16 pixels, at most 1.
* The margin is the least multiple of the output stride from which on the mean
  difference is at most 5/4 of that in the middle, plus 0.001, and at most 0.05.
  Where it is more even in the middle, outputs depend on all of a tile, as those
  of networks with global pooling, and only a wide blend hides where tiles meet.
* The overlap is three margins, of which the outer two count nothing (`tiling`),
  at least two output strides and at most half of a tile: tiles of one or two
  output strides share none or one.
"""

import numpy as np
import numpy.typing as npt

from deeplab2_like.large_images import grouping, network, peaks
from deeplab2_like.large_images import tiling as tiling_lib
from deeplab2_like.large_images.source import Box, LargeImage

_PLACES = (0.5, 0.25, 0.75)
# Images of fewer tiles than this are measured at one place.
_MANY_TILES = 24
_VOTE_PIXELS = 16.0
_Floats = npt.NDArray[np.float64]


def measure(net: network.TileNetwork, image: LargeImage) -> int:
    """Measures the overlap that an image needs, by the rule of this module.

    Args:
        net: The network.
        image: The image.

    Returns:
        Pixels, at most `tiling.find_largest_overlap`; 0 where the image fits
        into a tile.
    """
    tile, stride = net.tile, net.stride
    size = (image.height, image.width)
    largest = tiling_lib.find_largest_overlap(tile, stride, net.remainder)
    quarter = min(tile // 4, largest)
    tiling = tiling_lib.make_tiling(size, tile, quarter, stride, net.remainder)
    room = [axis.canvas - tile for axis in (tiling.rows, tiling.columns)]
    half = tile // 2 // stride * stride
    shift = tuple(min(max(free, 0), half) for free in room)
    if not any(shift):
        return 0
    bins: list[tuple[_Floats, _Floats]] = []
    for share in _PLACES[: 1 if len(tiling) < _MANY_TILES else None]:
        top, left = (
            int((max(free, 0) - moved) * share) // stride * stride
            for free, moved in zip(room, shift, strict=True)
        )
        first = _infer(net, image, top, left)
        second = _infer(net, image, top + shift[0], left + shift[1])
        bins.append(_compare(first, second, shift, net))
    sums = np.sum([b[0] for b in bins], axis=0)
    counts = np.sum([b[1] for b in bins], axis=0)
    margin = _choose(sums[counts > 0] / counts[counts > 0]) * stride
    return min(max(3 * margin, 2 * stride), half, largest)


def _infer(
    net: network.TileNetwork, image: LargeImage, top: int, left: int
) -> network.Maps:
    box = Box(
        top,
        left,
        min(top + net.tile, image.height),
        min(left + net.tile, image.width),
    )
    return net.infer_maps(network.read_tile(image, box).image)


def _compare(
    first: network.Maps,
    second: network.Maps,
    shift: tuple[int, ...],
    net: network.TileNetwork,
) -> tuple[_Floats, _Floats]:
    """Compares two tiles in the part that both show.

    Args:
        first: Outputs of a tile.
        second: Outputs of a tile below or to the right of it.
        shift: Pixels from the one to the other, down and to the right.
        net: The network.

    Returns:
        Sum of the differences and number of the positions whose distance to a
        border is 0, 1, ... output strides, rounded down.
    """
    shape = next(iter(first.values())).shape[:2]
    head = (net.tile - 1) // (shape[0] - 1)
    rows, columns = (moved // head for moved in shift)
    difference = np.zeros((shape[0] - rows, shape[1] - columns))
    for name, values in first.items():
        some = values[rows:, columns:].astype(np.float64)
        other = second[name][: shape[0] - rows, : shape[1] - columns]
        difference = np.maximum(
            difference,
            _measure_difference(name, some, other.astype(np.float64), head),
        )
    distance = np.full(difference.shape, np.inf)
    for axis, moved in enumerate((rows, columns)):
        if moved:
            position = np.arange(difference.shape[axis])
            inside = np.minimum(position, position[::-1])
            inside = inside[:, np.newaxis] if axis == 0 else inside
            distance = np.minimum(distance, inside)
    index = (distance * head // net.stride).astype(np.int64).ravel()
    count = net.tile // net.stride + 1
    return (
        np.bincount(index, difference.ravel(), count).astype(np.float64),
        np.bincount(index, None, count).astype(np.float64),
    )


def _measure_difference(
    name: str, some: _Floats, other: _Floats, head: int
) -> _Floats:
    """Returns the difference of each position, [h, w], in 0..1."""
    if name == grouping.SCORES[0]:
        some, other = _softmax(some), _softmax(other)
    change = np.abs(some - other)
    if name in grouping.SCORES:
        return change.sum(axis=2) / 2
    if name == peaks.HEATMAP:
        return np.minimum(change[..., 0], 1.0)
    return np.minimum(np.hypot(*change.T).T * (head / _VOTE_PIXELS), 1.0)


def _softmax(logits: _Floats) -> _Floats:
    powers = np.exp(logits - logits.max(axis=2, keepdims=True))
    return powers / powers.sum(axis=2, keepdims=True)


def _choose(means: _Floats) -> int:
    """Returns the first distance from which on no mean is above the limit."""
    limit = min(1.25 * means[-1] + 1e-3, 0.05)
    above = np.flatnonzero(means > limit)
    return int(above[-1]) + 1 if len(above) else 0
