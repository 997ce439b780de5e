# SPDX-License-Identifier: Apache-2.0
"""Strong views of images, and maps of an image shown in the same view.

A network that predicts an image, and one that predicts a view of it, are
compared in the view: `show_maps` and `show_offsets` do to predicted maps what
`show_images` did to the image. In reading order: `ViewRules`, `Views` and
`draw_views` (scale, crop or padding, mirroring), the functions that show
images and maps, then `draw_boxes` and `mix_pairs` (CutMix).

Shape suffixes: b batch, h height, w width, c channels. Sizes, shifts and boxes
are (height, width) or (y, x) in pixels of the canvas. Maps may have another
resolution than the canvas, with corners on corners. All shapes are static, and
random numbers come in as arguments.
"""

import dataclasses

import tensorflow as tf

NUM_VIEW_DRAWS = 4  # Uniform random numbers that one view uses.
NUM_BOX_DRAWS = 5  # Those that one box uses.
# Share of the canvas that a box covers, and its ratio of height to width: Yang
# et al., "UniMatch" (CVPR 2023, arXiv:2208.09910), its code.
_BOX_AREAS = (0.02, 0.4)
_BOX_RATIOS = (0.3, 1.0 / 0.3)
# Rounding of positions, in pixels, that does not put one outside of a map.
_TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class ViewRules:
    """The views that are drawn from.

    Attributes:
        min_scale: Smallest scale, above 0.
        max_scale: Largest scale; scales are drawn evenly by their logarithm.
        mirror_probability: Share of the views that are mirrored.
    """

    min_scale: float = 1.0
    max_scale: float = 1.0
    mirror_probability: float = 0.0


@dataclasses.dataclass(frozen=True)
class Views:
    """Views of a batch of canvases, each of the size of its canvas.

    The canvas is scaled, corners on corners, shifted, and then the view is
    mirrored left-right.

    Attributes:
        canvas_size: (height, width), static.
        scale_b: float32 [B].
        shift_b2: float32 [B, 2], whole numbers: where the first pixel of the
            scaled canvas is; negative where the view shows a crop.
        is_mirrored_b: bool [B].
    """

    canvas_size: tuple[int, int]
    scale_b: tf.Tensor
    shift_b2: tf.Tensor
    is_mirrored_b: tf.Tensor


@dataclasses.dataclass(frozen=True)
class _Places:
    """Where the pixels of an axis of n pixels are read.

    Attributes:
        lower_bn: int32 [B, n], the pixel before.
        upper_bn: int32 [B, n], the pixel behind.
        weight_bn: float32 [B, n] in [0, 1), the weight of the pixel behind.
        is_inside_bn: bool [B, n], whether the place is on the map.
    """

    lower_bn: tf.Tensor
    upper_bn: tf.Tensor
    weight_bn: tf.Tensor
    is_inside_bn: tf.Tensor


def draw_views(
    uniform_b4: tf.Tensor, rules: ViewRules, canvas_size: tuple[int, int]
) -> Views:
    """Draws a view of each canvas.

    A scaled canvas that is smaller than the view lies anywhere in it, of a
    larger one the view shows any part.

    Args:
        uniform_b4: float32 [B, 4] in [0, 1): scale, height, width, mirroring.
        rules: What is drawn from.
        canvas_size: (height, width).

    Returns:
        The views.
    """
    ratio = rules.max_scale / rules.min_scale
    scale_b = rules.min_scale * tf.pow(ratio, uniform_b4[:, 0])
    sides_2 = tf.constant(canvas_size, tf.float32) - 1.0
    margin_b2 = sides_2 * (1.0 - scale_b[:, tf.newaxis])
    return Views(
        canvas_size,
        scale_b,
        tf.round(uniform_b4[:, 1:3] * margin_b2),
        uniform_b4[:, 3] < rules.mirror_probability,
    )


def _find_places(views: Views, count: int, axis: int) -> _Places:
    """Finds where an axis (0 vertical, 1 horizontal) of a map is read."""
    steps = max(views.canvas_size[axis] - 1, 1)
    position_bn = tf.range(count, dtype=tf.float32)[tf.newaxis]
    if axis == 1:
        position_bn = tf.where(
            views.is_mirrored_b[:, tf.newaxis],
            count - 1.0 - position_bn,
            position_bn,
        )
    # In this order whole numbers stay exact.
    shift_b1 = views.shift_b2[:, axis, tf.newaxis] * (count - 1.0) / steps
    exact_bn = (position_bn - shift_b1) / views.scale_b[:, tf.newaxis]
    is_inside_bn = (exact_bn >= -_TOLERANCE) & (
        exact_bn <= count - 1.0 + _TOLERANCE
    )
    exact_bn = tf.clip_by_value(exact_bn, 0.0, count - 1.0)
    before_bn = tf.floor(exact_bn)
    lower_bn = tf.cast(before_bn, tf.int32)
    return _Places(
        lower_bn,
        tf.minimum(lower_bn + 1, count - 1),
        exact_bn - before_bn,
        is_inside_bn,
    )


def _read(x_bhwc: tf.Tensor, places: _Places, axis: int) -> tf.Tensor:
    """Interpolates along an axis: 0 the height, 1 the width."""
    before = tf.gather(x_bhwc, places.lower_bn, axis=axis + 1, batch_dims=1)
    behind = tf.gather(x_bhwc, places.upper_bn, axis=axis + 1, batch_dims=1)
    weight = places.weight_bn[:, :, tf.newaxis, tf.newaxis]
    if axis == 1:
        weight = places.weight_bn[:, tf.newaxis, :, tf.newaxis]
    return before + (behind - before) * weight


def _show(x_bhwc: tf.Tensor, views: Views) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns float32 maps in the views, and bool [B, h, w]: what is on them.

    Beyond their border maps have the value of the border.
    """
    height, width = x_bhwc.shape[1:3]
    rows = _find_places(views, height, 0)
    columns = _find_places(views, width, 1)
    shown_bhwc = _read(_read(tf.cast(x_bhwc, tf.float32), rows, 0), columns, 1)
    is_inside_bhw = (
        rows.is_inside_bn[:, :, tf.newaxis]
        & columns.is_inside_bn[:, tf.newaxis, :]
    )
    return shown_bhwc, is_inside_bhw


def show_images(
    images_bhw3: tf.Tensor,
    views: Views,
    padding_color: tuple[float, float, float],
) -> tf.Tensor:
    """Shows canvases in their views, bilinearly.

    Args:
        images_bhw3: float32 [B, H, W, 3], the canvases.
        views: The views.
        padding_color: Color of the views outside of the canvases.

    Returns:
        float32 [B, H, W, 3].
    """
    shown_bhw3, is_inside_bhw = _show(images_bhw3, views)
    return tf.where(
        is_inside_bhw[..., tf.newaxis], shown_bhw3, tf.constant(padding_color)
    )


def show_maps(maps_bhwc: tf.Tensor, views: Views) -> tf.Tensor:
    """Shows maps of the canvases in the views, bilinearly.

    Args:
        maps_bhwc: float [B, h, w, C], logits or heat maps, of a size that is
            static.
        views: The views.

    Returns:
        float32 [B, h, w, C]; what is outside of a canvas is arbitrary, see
        `find_visible`.
    """
    shown_bhwc, _ = _show(maps_bhwc, views)
    return shown_bhwc


def show_offsets(offset_bhw2: tf.Tensor, views: Views) -> tf.Tensor:
    """Shows offsets to centers in the views, as they are there.

    They become longer with the scale, and a mirrored view turns them left to
    right.

    Args:
        offset_bhw2: float [B, h, w, 2], (dy, dx).
        views: The views.

    Returns:
        float32 [B, h, w, 2], in the unit of `offset_bhw2`.
    """
    sign_b = tf.where(views.is_mirrored_b, -1.0, 1.0)
    factor_b2 = views.scale_b[:, tf.newaxis] * tf.stack(
        [tf.ones_like(sign_b), sign_b], axis=1
    )
    return (
        show_maps(offset_bhw2, views) * factor_b2[:, tf.newaxis, tf.newaxis, :]
    )


def find_visible(
    valid_bhw: tf.Tensor, views: Views, size: tuple[int, int]
) -> tf.Tensor:
    """Finds which pixels of maps in the views show a part of an image.

    Args:
        valid_bhw: bool [B, H, W], which pixels of the canvases are image, not
            padding.
        views: The views.
        size: (height, width) of the maps.

    Returns:
        bool [B, h, w]; false where what is shown depends on padding.
    """
    chosen_bhw = valid_bhw
    for axis, count in enumerate(size):
        places = choose_pixels(views.canvas_size[axis], count)
        chosen_bhw = tf.gather(chosen_bhw, places, axis=axis + 1)
    shown_bhw1, is_inside_bhw = _show(
        tf.cast(chosen_bhw, tf.float32)[..., tf.newaxis], views
    )
    return is_inside_bhw & (shown_bhw1[..., 0] > 1.0 - _TOLERANCE)


def choose_pixels(side: int, count: int) -> list[int]:
    """Returns the pixels of an axis of a canvas that those of a map lie on.

    Args:
        side: Pixels of the canvas.
        count: Pixels of the map.
    """
    steps = max(count - 1, 1)
    return [(2 * i * (side - 1) + steps) // (2 * steps) for i in range(count)]


def draw_boxes(
    uniform_b5: tf.Tensor, probability: float, canvas_size: tuple[int, int]
) -> tf.Tensor:
    """Draws the box of each view that shows the other view of its pair.

    CutMix: Yun et al., ICCV 2019 (arXiv:1905.04899). Sizes as in UniMatch:
    2 to 40 % of the canvas. Difference: the ratio of the sides is drawn evenly
    by its logarithm.

    Args:
        uniform_b5: float32 [B, 5] in [0, 1): whether there is a box, area,
            ratio, place.
        probability: Share of the views with a box.
        canvas_size: (height, width).

    Returns:
        float32 [B, 4], (top, left, bottom, right); empty where there is none.
    """
    low, high = _BOX_AREAS
    sides_2 = tf.constant(canvas_size, tf.float32)
    area_b = (low + (high - low) * uniform_b5[:, 1]) * tf.reduce_prod(sides_2)
    ratio_b = _BOX_RATIOS[0] * tf.pow(
        _BOX_RATIOS[1] / _BOX_RATIOS[0], uniform_b5[:, 2]
    )
    size_b2 = tf.sqrt(tf.stack([area_b * ratio_b, area_b / ratio_b], axis=1))
    size_b2 = tf.round(tf.minimum(size_b2, sides_2))
    start_b2 = tf.round(uniform_b5[:, 3:5] * (sides_2 - size_b2))
    has_box_b1 = uniform_b5[:, :1] < probability
    size_b2 = tf.where(has_box_b1, size_b2, 0.0)
    return tf.concat([start_b2, start_b2 + size_b2], axis=1)


def find_in_boxes(
    boxes_b4: tf.Tensor, size: tuple[int, int], canvas_size: tuple[int, int]
) -> tf.Tensor:
    """Finds the pixels of maps that lie in the boxes.

    Args:
        boxes_b4: Result of `draw_boxes`.
        size: (height, width) of the maps.
        canvas_size: (height, width) of the canvas.

    Returns:
        bool [B, h, w].
    """
    is_inside = []
    for axis, count in enumerate(size):
        places = choose_pixels(canvas_size[axis], count)
        position = tf.constant(places, tf.float32)[tf.newaxis]
        is_inside.append(
            (position >= boxes_b4[:, axis, tf.newaxis])
            & (position < boxes_b4[:, axis + 2, tf.newaxis])
        )
    rows_bh, columns_bw = is_inside
    return rows_bh[:, :, tf.newaxis] & columns_bw[:, tf.newaxis, :]


def mix_pairs(x_bhwc: tf.Tensor, is_in_box_bhw: tf.Tensor) -> tf.Tensor:
    """Shows in the boxes of each view what the other of its pair shows there.

    The pairs are the views 0 and 1, 2 and 3, ...

    Args:
        x_bhwc: [B, h, w, C] or [B, h, w] of any dtype, B even.
        is_in_box_bhw: bool [B, h, w], result of `find_in_boxes`.

    Returns:
        As `x_bhwc`.
    """
    batch, *rest = x_bhwc.shape
    pairs = tf.reshape(x_bhwc, [batch // 2, 2, *rest])
    others = tf.reshape(tf.reverse(pairs, [1]), [batch, *rest])
    if len(rest) == 3:
        is_in_box_bhw = is_in_box_bhw[..., tf.newaxis]
    return tf.where(is_in_box_bhw, others, x_bhwc)
