# SPDX-License-Identifier: Apache-2.0
"""RoIAlign: features, or labels, in the boxes of regions of interest.

Mask R-CNN (arXiv:1703.06870), section 3. An RoI is divided into P x P bins; in
each bin the map is interpolated bilinearly at S x S points and averaged.

Along an axis, a bin reads K places of the map with weights; so the values are a
gather of K x K places, weighted by the products. K is 2 * S, two for each
point; points of adaptive sampling are at most a pixel apart and read S + 1
pixels. All shapes are static.
Levels, places and weights are the same in every mode; sums of the features
differ in their last bits.

B images, N RoIs of each, P bins of an axis, K places of a bin, C channels.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from deeplab2_like.graph import exact_floats

# Values that are gathered at once: bounds the memory to some 100 MB.
_MAX_VALUES = 1 << 24


class Sampling(NamedTuple):
    """Sampling points of the bins.

    Attributes:
        bins: P, number of bins along an axis.
        points: S, points of a bin along an axis, or their largest number.
        is_adaptive: Whether each RoI has its own number of points, one for
            each pixel of the map that a bin covers, rounded up. RoIs that
            would need more than `points` get `points`, and read the nearest
            pixel at each.
        is_aligned: Whether pixel i of the map is centered on i + 0.5. If not,
            it is centered on i, and RoIs have sides of at least one pixel of
            the map, as in the definition from before 2019, which some weights
            were trained with.
    """

    bins: int
    points: int = 2
    is_adaptive: bool = False
    is_aligned: bool = True


class Taps(NamedTuple):
    """Places of the map that bins read along one axis.

    Attributes:
        place: int32 [..., P, K], pixels of the map.
        weight: float32 [..., P, K], 0 where nothing is read.
    """

    place: tf.Tensor
    weight: tf.Tensor


def compute_taps(
    start: tf.Tensor, end: tf.Tensor, size: tf.Tensor, sampling: Sampling
) -> Taps:
    """Computes the places that the bins of RoIs read along one axis.

    Args:
        start: float32 [...], beginnings of RoIs in pixels of the map.
        end: float32 [...], ends of RoIs in pixels of the map.
        size: int32 [...], pixels of the map.
        sampling: Sampling points of the bins.
    """
    shift = 0.5 if sampling.is_aligned else 0.0
    start = start - shift
    extent = end - shift - start
    if not sampling.is_aligned:
        extent = tf.maximum(extent, 1.0)
    step = exact_floats.rounded(extent * (1.0 / sampling.bins))
    most = float(sampling.points)
    needed = tf.fill(tf.shape(step), most)
    if sampling.is_adaptive:
        needed = _ceil_divide(extent, sampling.bins)
    needed = needed[..., tf.newaxis, tf.newaxis]
    count = tf.clip_by_value(needed, 0.0, most)
    point = tf.range(sampling.points, dtype=tf.float32)
    bins = tf.range(sampling.bins, dtype=tf.float32)[:, tf.newaxis]
    within = (point + 0.5) / tf.maximum(count, 1.0)
    position = start[..., tf.newaxis, tf.newaxis] + exact_floats.rounded(
        (bins + within) * step[..., tf.newaxis, tf.newaxis]
    )
    size = size[..., tf.newaxis, tf.newaxis]
    limit = tf.cast(size, tf.float32)
    is_read = (point < count) & (position >= -1.0) & (position <= limit)
    position = tf.clip_by_value(position, 0.0, limit - 1.0)
    if sampling.is_adaptive:
        return _merge_points(position, is_read, count, needed > most, size)
    lower = tf.floor(position)
    fraction = position - lower
    lower = tf.cast(lower, tf.int32)
    weight = tf.cast(is_read, tf.float32) / tf.maximum(count, 1.0)
    place = tf.concat([lower, tf.minimum(lower + 1, size - 1)], axis=-1)
    rest = exact_floats.rounded(1.0 - fraction)
    weight = tf.concat([weight * rest, weight * fraction], axis=-1)
    return Taps(place, weight)


def _merge_points(
    position: tf.Tensor,
    is_read: tf.Tensor,
    count: tf.Tensor,
    is_sparse: tf.Tensor,
    size: tf.Tensor,
) -> Taps:
    """Sums what the points of a bin read from each pixel.

    Args:
        position: float32 [..., P, S], within the map, in increasing order.
        is_read: bool [..., P, S], which points count.
        count: float32 [..., 1, 1], number of points of a bin.
        is_sparse: bool [..., 1, 1], whether points are more than a pixel apart;
            these read the nearest pixel.
        size: int32 [..., 1, 1], pixels of the map.
    """
    points = position.shape[-1]
    nearest = tf.floor(position + 0.5)
    first = tf.floor(position[..., :1])
    offset = tf.range(points + 1, dtype=tf.float32)
    pixel = tf.where(
        is_sparse,
        tf.concat([nearest, nearest[..., -1:]], axis=-1),
        first + offset,
    )
    total = tf.zeros_like(pixel)
    # One after the other, so that sums are the same in every mode.
    for number in range(points):
        here = position[..., number : number + 1]
        share = tf.maximum(1.0 - tf.abs(here - pixel), 0.0)
        share = tf.where(
            is_sparse, tf.cast(offset == float(number), tf.float32), share
        )
        total += tf.where(is_read[..., number : number + 1], share, 0.0)
    place = tf.minimum(tf.cast(pixel, tf.int32), size - 1)
    return Taps(place, total / tf.maximum(count, 1.0))


def _ceil_divide(values: tf.Tensor, by: int) -> tf.Tensor:
    """Returns values / by, rounded up, without the error of 1 / by."""
    number = tf.math.ceil(values * (1.0 / by))
    number = tf.where((number - 1.0) * by >= values, number - 1.0, number)
    return tf.where(number * by < values, number + 1.0, number)


def choose_levels(
    boxes: tf.Tensor,
    num_levels: int,
    *,
    first_level: int = 2,
    usual_side: float = 224.0,
    usual_level: int = 4,
) -> tf.Tensor:
    """Returns the level of the pyramid that suits the size of each box.

    Feature pyramid networks (arXiv:1612.03144), equation 1, in terms of
    areas: each level begins at 4 times the area of the one before.

    Args:
        boxes: float32 [..., 4], (y1, x1, y2, x2) in pixels of the image.
        num_levels: Number of levels.
        first_level: Number of the finest level.
        usual_side: Side of a square that belongs to `usual_level`, pixels.
        usual_level: Number of the level of squares of `usual_side`.

    Returns:
        int32 [...] in 0..num_levels - 1, 0 for the finest.
    """
    sides = tf.maximum(boxes[..., 2:] - boxes[..., :2], 0.0)
    area = exact_floats.rounded(sides[..., 0] * sides[..., 1])
    level = tf.zeros_like(area, tf.int32)
    for number in range(first_level + 1, first_level + num_levels):
        smallest = (usual_side * 2.0 ** (number - usual_level)) ** 2
        level += tf.cast(area >= smallest, tf.int32)
    return level


def align_regions(
    features: Sequence[tf.Tensor],
    boxes_bn4: tf.Tensor,
    level_bn: tf.Tensor,
    *,
    strides: Sequence[float],
    sampling: Sampling,
) -> tf.Tensor:
    """Returns the features in each RoI.

    The gradient goes to the features and not to the boxes.

    Args:
        features: float [B, h, w, C] of each level of a pyramid.
        boxes_bn4: float32 [B, N, 4], (y1, x1, y2, x2) in pixels of the image.
        level_bn: int32 [B, N], the level that an RoI is read from.
        strides: Stride of each level in pixels of the image.
        sampling: Sampling points of the bins.

    Returns:
        [B, N, P, P, C] in the dtype of the features, computed in float32.
    """
    boxes_bn4 = tf.stop_gradient(boxes_bn4)
    shapes = [tf.unstack(tf.shape(x)[1:3]) for x in features]
    areas = [height * width for height, width in shapes]
    starts = [sum(areas[:level]) for level in range(len(areas))]

    def of_level(values: Sequence[float | tf.Tensor], dtype: tf.DType):
        table = tf.stack([tf.cast(value, dtype) for value in values])
        return tf.gather(table, level_bn)

    scale = of_level([1.0 / stride for stride in strides], tf.float32)
    width = of_level([size[1] for size in shapes], tf.int32)
    y1, x1, y2, x2 = tf.unstack(boxes_bn4 * scale[..., tf.newaxis], axis=-1)
    rows = compute_taps(
        y1, y2, of_level([size[0] for size in shapes], tf.int32), sampling
    )
    columns = compute_taps(x1, x2, width, sampling)
    batch = tf.shape(boxes_bn4)[0]
    first = of_level(starts, tf.int32) + (
        tf.range(batch)[:, tf.newaxis] * sum(areas)
    )
    row_start = rows.place * width[..., tf.newaxis, tf.newaxis]
    row_start += first[..., tf.newaxis, tf.newaxis]
    channels = features[0].shape[-1]
    flat = tf.concat(
        [tf.reshape(x, [batch, -1, channels]) for x in features], axis=1
    )
    return _pool(
        tf.reshape(flat, [-1, channels]),
        Taps(row_start, rows.weight),
        columns,
    )


def align_labels(
    labels_bhw: tf.Tensor,
    boxes_bn4: tf.Tensor,
    wanted_bn: tf.Tensor,
    sampling: Sampling,
) -> tf.Tensor:
    """Returns the share of a label in the bins of each RoI.

    It does not need the masks of all labels.

    Args:
        labels_bhw: int32 [B, H, W].
        boxes_bn4: float32 [B, N, 4], in pixels of the labels.
        wanted_bn: int32 [B, N], the label whose share is computed in an RoI.
        sampling: Sampling points of the bins.

    Returns:
        float32 [B, N, P, P] in 0..1.
    """
    batch, height, width = tf.unstack(tf.shape(labels_bhw))
    y1, x1, y2, x2 = tf.unstack(boxes_bn4, axis=-1)
    rows = compute_taps(y1, y2, tf.fill(tf.shape(y1), height), sampling)
    columns = compute_taps(x1, x2, tf.fill(tf.shape(x1), width), sampling)
    first = tf.range(batch) * (height * width)
    row_start = rows.place * width
    row_start += tf.reshape(first, [-1, 1, 1, 1])
    flat = tf.reshape(labels_bhw, [-1])
    found = tf.gather(flat, _combine(row_start, columns.place))
    is_found = found == wanted_bn[:, :, *[tf.newaxis] * 4]
    return _weigh(
        tf.cast(is_found, tf.float32)[..., tf.newaxis],
        rows.weight,
        columns.weight,
    )[..., 0]


def _combine(row_start: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
    """Returns int32 [B, N, P, K, P, K], places in the flat map."""
    return (
        row_start[..., tf.newaxis, tf.newaxis]
        + column[:, :, tf.newaxis, tf.newaxis]
    )


def _weigh(
    values: tf.Tensor, row_weight: tf.Tensor, column_weight: tf.Tensor
) -> tf.Tensor:
    """Sums float32 [B, N, P, K, P, K, C] to [B, N, P, P, C]."""
    rows = row_weight[..., tf.newaxis, tf.newaxis, tf.newaxis]
    columns = column_weight[:, :, tf.newaxis, :, :, tf.newaxis]
    return tf.reduce_sum(tf.reduce_sum(values * rows, axis=3) * columns, axis=4)


def _pool(flat: tf.Tensor, rows: Taps, columns: Taps) -> tf.Tensor:
    """Reads and averages, some RoIs of all images at a time.

    Args:
        flat: float [places, C].
        rows: Places of rows in `flat`, [B, N, P, K].
        columns: Places of columns within a row.
    """

    # The taps are arguments and not captured: in graphs of TensorFlow 1, the
    # variables behind captured tensors would need gradients too.
    @tf.custom_gradient
    def pool(flat, *taps):
        def read(part: Sequence[tf.Tensor]) -> tf.Tensor:
            row, row_weight, column, column_weight = part
            values = tf.gather(flat, _combine(row, column))
            values = tf.cast(values, tf.float32)
            return tf.cast(
                _weigh(values, row_weight, column_weight), flat.dtype
            )

        def gradient(upstream: tf.Tensor) -> list[tf.Tensor | None]:
            scattered = _scatter(tf.shape(flat), upstream, taps)
            return [scattered, *[None] * len(taps)]

        pooled = _map_parts(read, taps, flat)
        return pooled, gradient

    return pool(flat, *rows, *columns)


def _scatter(
    shape: tf.Tensor, upstream: tf.Tensor, taps: Sequence[tf.Tensor]
) -> tf.Tensor:
    """Adds the gradient of each read to its place: [places, C]."""
    channels = upstream.shape[-1]

    def add(total: tf.Tensor, part: Sequence[tf.Tensor]) -> tf.Tensor:
        row, row_weight, column, column_weight, values = part
        values = tf.cast(values, tf.float32)[:, :, :, tf.newaxis, :, tf.newaxis]
        values *= row_weight[..., tf.newaxis, tf.newaxis, tf.newaxis]
        values *= column_weight[:, :, tf.newaxis, tf.newaxis, :, :, tf.newaxis]
        place = tf.reshape(_combine(row, column), [-1, 1])
        values = tf.reshape(values, [-1, channels])
        return tf.tensor_scatter_nd_add(total, place, values)

    parts = _cut([*taps, upstream], _part_size(taps, channels))
    total = tf.zeros(shape, tf.float32)
    if parts[0].shape[0] == 1:
        total = add(total, [x[0] for x in parts])
    else:
        _, total = tf.while_loop(
            lambda index, _: index < parts[0].shape[0],
            lambda index, total: (
                index + 1,
                add(total, [tf.gather(x, index) for x in parts]),
            ),
            (0, total),
            parallel_iterations=1,
        )
    return tf.cast(total, upstream.dtype)


def _map_parts(
    read: Callable[[Sequence[tf.Tensor]], tf.Tensor],
    taps: Sequence[tf.Tensor],
    flat: tf.Tensor,
) -> tf.Tensor:
    """Applies `read` to parts of the RoIs: [B, N, P, P, C]."""
    number = taps[0].shape[1]
    channels = flat.shape[-1]
    size = _part_size(taps, channels)
    if size >= number:
        return read(taps)
    bins = taps[0].shape[2]
    batch = taps[0].shape[0]
    pooled = tf.map_fn(
        read,
        _cut(taps, size),
        fn_output_signature=tf.TensorSpec(
            [batch, size, bins, bins, channels], flat.dtype
        ),
        parallel_iterations=1,
    )
    pooled = tf.transpose(pooled, [1, 0, 2, 3, 4, 5])
    shape = [tf.shape(taps[0])[0], -1, bins, bins, channels]
    return tf.reshape(pooled, shape)[:, :number]


def _part_size(taps: Sequence[tf.Tensor], channels: int) -> int:
    """Returns how many RoIs of each image are read at once."""
    batch, number, bins, places = taps[0].shape
    values = (batch or 1) * (bins * places) ** 2 * channels
    return max(1, min(number, _MAX_VALUES // values))


def _cut(values: Sequence[tf.Tensor], size: int) -> list[tf.Tensor]:
    """Cuts [B, N, ...] into [parts, B, size, ...], the last filled with 0."""
    number = values[0].shape[1]
    parts = -(-number // size)
    cut = []
    for value in values:
        rest = value.shape[2:].as_list()
        padding = [[0, 0], [0, parts * size - number]] + [[0, 0]] * len(rest)
        shape = [tf.shape(value)[0], parts, size, *rest]
        blocks = tf.reshape(tf.pad(value, padding), shape)
        cut.append(tf.transpose(blocks, [1, 0, *range(2, blocks.shape.rank)]))
    return cut
