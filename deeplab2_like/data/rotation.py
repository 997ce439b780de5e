# SPDX-License-Identifier: Apache-2.0
"""Small random rotations of training images.

`Rotation` contains the options, `draw_angle` draws, `rotate_on_canvas` does
what `augmentation.place_on_canvas` does and turns the image on the way.
"""

import dataclasses
import math
from collections.abc import Callable

import tensorflow as tf

from deeplab2_like.data import augmentation

NUM_DRAWS = 2  # Uniform random numbers that one image uses.


@dataclasses.dataclass(frozen=True)
class Rotation:
    """How images are turned.

    Attributes:
        max_degrees: Largest angle, in either direction; 0..45.
        probability: Share of the images that are turned; 0..1.
    """

    max_degrees: float = 0.0
    probability: float = 1.0

    @property
    def is_active(self) -> bool:
        """Whether any image is turned."""
        return self.max_degrees > 0 and self.probability > 0


def draw_angle(uniform: tf.Tensor, rotation: Rotation) -> tf.Tensor:
    """Draws an angle evenly: float32 scalar, in radians.

    Args:
        uniform: float32 scalar in [0, 1).
        rotation: Options.
    """
    return math.radians(rotation.max_degrees) * (2.0 * uniform - 1.0)


@dataclasses.dataclass(frozen=True)
class _Turn:
    """The map from canvas pixels to the scaled image, for one of its axes.

    position = origin + by_row * row + by_column * column, of the canvas as it
    is returned, flipped or not. All are float32 scalars.
    """

    origin: tf.Tensor
    by_row: tf.Tensor
    by_column: tf.Tensor


def _compute_turns(
    placement: augmentation.Placement,
    canvas_size: tuple[int, int],
    angle: tf.Tensor,
) -> tuple[_Turn, _Turn]:
    """Computes the maps to rows and columns of the scaled image.

    The image is turned about the middle of the part of it that is shown.
    """
    canvas = tf.constant(canvas_size, tf.int32)
    first = tf.maximum(placement.offset, 0)
    end = tf.minimum(placement.offset + placement.scaled_size, canvas)
    middle = tf.cast(first + end - 1, tf.float32) / 2.0
    offset = tf.cast(placement.offset, tf.float32)
    cosine, sine = tf.cos(angle), tf.sin(angle)
    # A flip counts columns from the other side.
    is_flipped = placement.is_flipped
    step = tf.where(is_flipped, -1.0, 1.0)
    start = tf.where(is_flipped, float(canvas_size[1] - 1), 0.0) - middle[1]
    rows = _Turn(
        middle[0] - offset[0] - cosine * middle[0] + sine * start,
        cosine,
        sine * step,
    )
    columns = _Turn(
        middle[1] - offset[1] + sine * middle[0] + cosine * start,
        -sine,
        cosine * step,
    )
    return rows, columns


def _find_inside(
    turn: _Turn, canvas_size: tuple[int, int], length: tf.Tensor
) -> tf.Tensor:
    """Finds what lies on the scaled image along an axis: bool [H, W]."""
    along_rows = turn.origin + turn.by_row * tf.range(
        canvas_size[0], dtype=tf.float32
    )
    along_columns = turn.by_column * tf.range(canvas_size[1], dtype=tf.float32)
    position_hw = along_rows[:, tf.newaxis] + along_columns
    last = tf.cast(length, tf.float32) - 0.5
    return (position_hw >= -0.5) & (position_hw < last)


def _look_up(
    image_hwc: tf.Tensor,
    turns: tuple[_Turn, _Turn],
    scaled_size: tf.Tensor,
    canvas_size: tuple[int, int],
    **kind: str,
) -> tf.Tensor:
    """Looks every canvas pixel up in an image of any size: [H, W, C]."""
    size = tf.cast(tf.shape(image_hwc)[:2] - 1, tf.float32)
    ratio = size / tf.cast(tf.maximum(scaled_size - 1, 1), tf.float32)
    rows, columns = (
        [turn.by_column, turn.by_row, turn.origin] * ratio[axis]
        for axis, turn in enumerate(turns)
    )
    transform = tf.concat([columns, rows, [0.0, 0.0]], axis=0)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image_hwc[tf.newaxis],
        transforms=transform[tf.newaxis],
        output_shape=list(canvas_size),
        fill_value=0.0,
        **kind,
    )[0]


def rotate_on_canvas(
    image_hwc: tf.Tensor,
    label_hw: tf.Tensor,
    placement: augmentation.Placement,
    angle: tf.Tensor,
    canvas_size: tuple[int, int],
    *,
    void: int,
    padding_color: tuple[float, float, float] | None = None,
    recolor: Callable[[tf.Tensor], tf.Tensor] | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Resizes, turns, pads, crops and flips an image and its label.

    Each pixel of the canvas is looked up in the image once, bilinearly, and in
    the label, the nearest. The image is turned about the middle of what the
    canvas shows of it, so that a crop is filled from beyond its border where
    the image goes on.

    Args:
        image_hwc: uint8 or float32 [h, w, 3] in 0..255.
        label_hw: int32 [h2, w2], of the same picture; usually h, w.
        placement: Place of the scaled image on the canvas, before it is
            turned.
        angle: float32 scalar, radians; positive turns what is seen
            counter-clockwise, before the flip.
        canvas_size: Two Python integers.
        void: Label of the canvas where no image is.
        padding_color: Color of the canvas there, in 0..255; None: the image
            mirrored at its border (with the border itself repeated).
        recolor: Function from the filled canvas, float32 [H, W, 3], to the
            same with other colors. Outside of the image it sees its mirror
            image.

    Returns:
        float32 [H, W, 3] image and int32 [H, W] label.
    """
    scaled_size = placement.scaled_size
    turns = _compute_turns(placement, canvas_size, angle)
    image = _look_up(
        tf.cast(image_hwc, tf.float32),
        turns,
        scaled_size,
        canvas_size,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )
    label = _look_up(
        label_hw[..., tf.newaxis],
        turns,
        scaled_size,
        canvas_size,
        interpolation="NEAREST",
        fill_mode="NEAREST",
    )[..., 0]
    if recolor is not None:
        image = recolor(image)
    is_inside = _find_inside(turns[0], canvas_size, scaled_size[0])
    is_inside &= _find_inside(turns[1], canvas_size, scaled_size[1])
    label = tf.where(is_inside, label, void)
    if padding_color is not None:
        # Whole pixels are selected, which is much faster than broadcasting.
        image = tf.compat.v1.where(
            tf.reshape(is_inside, [-1]),
            tf.reshape(image, [-1, 3]),
            tf.tile([padding_color], [tf.size(is_inside), 1]),
        )
    image = tf.reshape(image, [*canvas_size, 3])
    return image, tf.ensure_shape(label, canvas_size)
