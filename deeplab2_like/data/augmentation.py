# SPDX-License-Identifier: Apache-2.0
"""Sizes, random draws and the one resampling step of preprocessing.

In reading order: the size rules (`compute_scaled_size`, `compute_range_size`,
`compute_canvas_size`), the random place (`draw_placement`; `scales` draws the
size) and `place_on_canvas`, which resizes, pads, crops and flips at once.
`rotation` does the same and turns the image.

deeplab2 (`data/preprocessing`) resizes to a range, scales, pads, crops and
flips one after the other. Here the sizes are computed first and every canvas
pixel is looked up in the decoded image once: the result of each single step is
the same, an image that deeplab2 resizes twice is interpolated only once, and
what the crop drops is never computed.

All functions are pure; random numbers come in as arguments. Sizes, offsets and
positions are (height, width) or (y, x) in pixels.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

CONSTANT = "CONSTANT"
REFLECT = "REFLECT"
# The model's normalization maps it to 0.
PADDING_COLOR = (127.5, 127.5, 127.5)
# All rows of an image are made, if they are this often those that are shown.
_MOST_ROWS = 4 / 3
NUM_DRAWS = 3  # Uniform random numbers that one training example uses.


@dataclasses.dataclass(frozen=True)
class Placement:
    """The place of a scaled image on the canvas.

    Attributes:
        scaled_size: int32 [2], size of the whole image after scaling.
        offset: int32 [2], canvas position of its first pixel; negative where
            the canvas shows a crop.
        is_flipped: bool scalar, whether the canvas is mirrored left-right.
    """

    scaled_size: tf.Tensor
    offset: tf.Tensor
    is_flipped: tf.Tensor


def compute_scaled_size(
    size: tf.Tensor, factor: tf.Tensor | float
) -> tf.Tensor:
    """Computes a size times a factor, rounded down.

    deeplab2: `randomly_scale_image_and_label`.

    Args:
        size: int32 [2].
        factor: float32 scalar, > 0.

    Returns:
        int32 [2], each at least 1.
    """
    scaled = tf.cast(size, tf.float32) * tf.cast(factor, tf.float32)
    return tf.maximum(tf.cast(tf.floor(scaled), tf.int32), 1)


def compute_range_size(
    size: tf.Tensor,
    min_size: tuple[int, int] | None,
    max_size: tuple[int, int] | None,
    factor: int | None = None,
) -> tf.Tensor:
    """Computes the size that fits a range, with the aspect ratio kept.

    First both sides are scaled so that each reaches its minimum, then, only
    ever smaller, so that each keeps its maximum. deeplab2:
    `resize_to_range_helper`, with its rounding.

    Args:
        size: int32 [2].
        min_size: (height, width), or None: no minimum.
        max_size: (height, width), or None: no maximum.
        factor: Sides become k * factor + 1, rounded up, but not above the
            maximum; None: any size.

    Returns:
        int32 [2].
    """
    if min_size is not None:
        ratio = tf.constant(min_size, tf.float64) / tf.cast(size, tf.float64)
        size = compute_scaled_size(size, tf.reduce_max(ratio))
    if max_size is not None:
        if factor:
            max_size = (
                max_size[0] - (max_size[0] - 1) % factor,
                max_size[1] - (max_size[1] - 1) % factor,
            )
        ratio = tf.constant(max_size, tf.float64) / tf.cast(size, tf.float64)
        shrink = tf.minimum(tf.cast(tf.reduce_min(ratio), tf.float32), 1.0)
        size = compute_scaled_size(size, shrink)
    if factor:
        size += (factor - (size - 1) % factor) % factor
    return size


def compute_canvas_size(
    size: tf.Tensor,
    crop_size: tuple[int, int],
    multiple: int,
    remainder: int = 1,
) -> tf.Tensor:
    """Computes the canvas of an image in evaluation.

    Args:
        size: int32 [2], the scaled image.
        crop_size: The canvas, or with a multiple the smallest canvas.
        multiple: 0, or the m of the sides m * k + remainder that larger images
            get.
        remainder: 1 or 0.

    Returns:
        int32 [2].
    """
    smallest = tf.constant(crop_size, tf.int32)
    if not multiple:
        return smallest
    steps = (size - remainder + multiple - 1) // multiple
    legal = steps * multiple + remainder
    return tf.where(size > smallest, legal, smallest)


def draw_placement(
    uniform_3: tf.Tensor, scaled_size: tf.Tensor, crop_size: tuple[int, int]
) -> Placement:
    """Draws the padding or crop of each side, and the flip.

    deeplab2: a side shorter than the crop begins in [0, crop - side), a longer
    one is cropped anywhere; flipped with probability 0.5.

    Args:
        uniform_3: float32 [3] in [0, 1): height, width, flip.
        scaled_size: int32 [2].
        crop_size: The canvas.

    Returns:
        The placement.
    """
    margin = tf.constant(crop_size, tf.int32) - scaled_size
    count = tf.where(margin > 0, margin, 1 - margin)
    drawn = tf.cast(uniform_3[:2] * tf.cast(count, tf.float32), tf.int32)
    return Placement(
        scaled_size,
        tf.where(margin > 0, drawn, -drawn),
        uniform_3[2] < 0.5,
    )


@dataclasses.dataclass(frozen=True)
class _Axis:
    """One axis of the canvas, before it is flipped.

    Attributes:
        scaled: int32, size of the whole scaled image.
        begin: int32, first position of the scaled image that is shown.
        number: int32, number N of positions that are shown.
        padding: int32 [2], canvas positions before and behind the image.
    """

    scaled: tf.Tensor
    begin: tf.Tensor
    number: tf.Tensor
    padding: tf.Tensor


@dataclasses.dataclass(frozen=True)
class _Sources:
    """Source pixels of the N positions that an axis shows.

    Attributes:
        lower: int32 [N], the source pixel before.
        upper: int32 [N], the source pixel after.
        weight: float32 [N] in [0, 1), the weight of `upper`.
        nearest: int32 [N], the nearest source pixel, halves rounded up.
    """

    lower: tf.Tensor
    upper: tf.Tensor
    weight: tf.Tensor
    nearest: tf.Tensor


def _compute_axis(
    canvas: tf.Tensor, offset: tf.Tensor, scaled: tf.Tensor
) -> _Axis:
    """Computes one axis; all sizes are int32 scalars."""
    begin = tf.maximum(-offset, 0)
    number = tf.minimum(canvas - offset, scaled) - begin
    before = tf.maximum(offset, 0)
    padding = tf.stack([before, canvas - before - number])
    return _Axis(scaled, begin, number, padding)


def _find_sources(axis: _Axis, source: tf.Tensor) -> _Sources:
    """Finds the source pixels of an axis; `source` is their number, int32.

    Align-corners: the first and the last pixel of the scaled image lie on those
    of the source, in float32 as in TensorFlow's resize kernels.
    """
    position = axis.begin + tf.range(axis.number)
    scale = tf.cast(source - 1, tf.float32) / tf.cast(
        tf.maximum(axis.scaled - 1, 1), tf.float32
    )
    exact = tf.cast(position, tf.float32) * scale
    before = tf.floor(exact)
    weight = exact - before
    lower = tf.cast(before, tf.int32)
    last = source - 1
    nearest = lower + tf.cast(weight >= 0.5, tf.int32)
    return _Sources(
        lower=tf.minimum(lower, last),
        upper=tf.minimum(lower + 1, last),
        weight=weight,
        nearest=tf.minimum(nearest, last),
    )


def _interpolate(
    image_hwc: tf.Tensor, vertical: _Axis, horizontal: _Axis
) -> tf.Tensor:
    """Interpolates the part that is shown.

    TensorFlow's kernel makes whole rows, which is several times faster than
    reading single columns. Where most rows are shown it makes all of them;
    otherwise those that are needed, at the whole width, and each row that is
    shown is interpolated from two of them. This is what the kernel does, in the
    same order: both ways give the same numbers.
    """
    end = horizontal.begin + horizontal.number

    def resize(rows_hwc: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        resized = tf.raw_ops.ResizeBilinear(
            images=rows_hwc[tf.newaxis],
            size=tf.stack([number, horizontal.scaled]),
            align_corners=True,
        )
        return resized[0]

    def take_of_all() -> tf.Tensor:
        rows = slice(vertical.begin, vertical.begin + vertical.number)
        return resize(image_hwc, vertical.scaled)[rows, horizontal.begin : end]

    def make_needed() -> tf.Tensor:
        sources = _find_sources(vertical, tf.shape(image_hwc)[0])
        first = tf.reduce_min(sources.lower)
        rows = image_hwc[first : tf.reduce_max(sources.upper) + 1]
        rows = resize(rows, tf.shape(rows)[0])[:, horizontal.begin : end]
        above = tf.gather(rows, sources.lower - first)
        below = tf.gather(rows, sources.upper - first)
        return above + (below - above) * sources.weight[:, None, None]

    most = _MOST_ROWS * tf.cast(vertical.number, tf.float32)
    return tf.cond(
        tf.cast(vertical.scaled, tf.float32) <= most, take_of_all, make_needed
    )


def _select(
    label_hw: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor
) -> tf.Tensor:
    """Returns rows (ascending) and columns: of fewer rows the columns first.

    Single columns take most of the time.
    """
    first = rows[0]
    needed = label_hw[first : rows[-1] + 1]
    return tf.cond(
        tf.shape(needed)[0] < tf.size(rows),
        lambda: tf.gather(tf.gather(needed, columns, axis=1), rows - first),
        lambda: tf.gather(tf.gather(label_hw, rows), columns, axis=1),
    )


def _mirror(values: tf.Tensor, padding: tf.Tensor, axis: int) -> tf.Tensor:
    """Pads an axis with its mirror image, as often as needed."""
    number = tf.shape(values)[axis]
    position = tf.range(-padding[0], number + padding[1])
    period = tf.maximum(2 * (number - 1), 1)
    position = position % period
    return tf.gather(values, tf.minimum(position, period - position), axis=axis)


def _pad_color(
    image_hwc: tf.Tensor,
    padding: tf.Tensor,
    color: tuple[float, float, float],
) -> tf.Tensor:
    """Pads height and width by `padding`, int32 [2, 2], with a color."""
    padding = tf.concat([padding, [[0, 0]]], axis=0)
    if len(set(color)) == 1:
        return tf.pad(image_hwc, padding, constant_values=color[0])
    is_padding = tf.pad(
        tf.zeros_like(image_hwc[..., :1], tf.bool),
        padding,
        constant_values=True,
    )
    return tf.where(is_padding, tf.constant(color), tf.pad(image_hwc, padding))


def place_on_canvas(
    image_hwc: tf.Tensor,
    label_hw: tf.Tensor,
    placement: Placement,
    canvas_size: tf.Tensor | tuple[int, int],
    *,
    void: int,
    padding_mode: str = CONSTANT,
    recolor: Callable[[tf.Tensor], tf.Tensor] | None = None,
    padding_color: tuple[float, float, float] = PADDING_COLOR,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Resizes, pads, crops and flips an image and its label.

    The image is interpolated bilinearly, the label takes the nearest pixel,
    both with aligned corners (deeplab2: `tf.compat.v1.image.resize` with
    align_corners=True).

    Args:
        image_hwc: uint8 or float32 [h, w, C] in 0..255.
        label_hw: int32 [h2, w2], of the same picture; usually h, w.
        placement: Place of the scaled image on the canvas.
        canvas_size: int32 [2]; two Python integers make the shapes static.
        void: Label of the canvas outside the image.
        padding_mode: Values of the canvas outside the image: CONSTANT (one
            color) or REFLECT (the image mirrored at its border, as often as
            needed; the border itself is not repeated). The label is void in
            both.
        recolor: Function from the part of the scaled image that is shown,
            float32 [h', w', C], to the same with other colors.
        padding_color: The color of CONSTANT in 0..255, one value for each
            channel.

    Returns:
        float32 [H, W, C] image and int32 [H, W] label.

    Raises:
        ValueError: The padding mode is not known.
    """
    if padding_mode not in (CONSTANT, REFLECT):
        raise ValueError(
            f"padding_mode is {padding_mode!r}, not {CONSTANT} or {REFLECT}."
        )
    vertical, horizontal = (
        _compute_axis(
            canvas_size[axis],
            placement.offset[axis],
            placement.scaled_size[axis],
        )
        for axis in (0, 1)
    )
    image = _interpolate(image_hwc, vertical, horizontal)
    if recolor is not None:
        image = recolor(image)
    rows = _find_sources(vertical, tf.shape(label_hw)[0]).nearest
    columns = _find_sources(horizontal, tf.shape(label_hw)[1]).nearest
    is_flipped = placement.is_flipped
    columns = tf.where(is_flipped, tf.reverse(columns, [0]), columns)
    label = _select(label_hw, rows, columns)
    image = tf.cond(is_flipped, lambda: tf.reverse(image, [1]), lambda: image)
    sides = horizontal.padding
    sides = tf.where(is_flipped, tf.reverse(sides, [0]), sides)
    padding = tf.stack([vertical.padding, sides])
    label = tf.pad(label, padding, constant_values=void)
    if padding_mode == REFLECT:
        # A side that is padded shows all of the image.
        image = _mirror(_mirror(image, padding[0], 0), padding[1], 1)
    else:
        image = _pad_color(image, padding, padding_color)
    if not tf.is_tensor(canvas_size):
        image = tf.ensure_shape(image, [*canvas_size, image_hwc.shape[2]])
        label = tf.ensure_shape(label, canvas_size)
    return image, label
