# SPDX-License-Identifier: Apache-2.0
"""Pictures for people: the image with its segments, as a PNG, in the graph.

The same picture as `visualize.visualize` makes without enlargement, names and
legend; the colors are those of `labels.palette`.
"""

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from deeplab2_like.exports import byte_guard, compact, rows
from deeplab2_like.exports.rows import Tensors
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.labels import palette
from deeplab2_like.visualize import visualizer

# Photos hardly get smaller beyond it, and take twice the time.
_COMPRESSION = 1


def make_answer(
    descriptor: descriptor_lib.DatasetDescriptor, num_rows: int
) -> rows.Answer:
    """Makes the answer whose outputs `ServingModule` lists.

    Args:
        descriptor: The data set.
        num_rows: Rows of the table of segments.
    """
    shades = make_shades(descriptor, num_rows)
    is_thing = np.array(
        [descriptor.is_thing(i) for i in range(descriptor.num_classes)]
    )

    def make(encoded: tf.Tensor, outputs: Tensors) -> Tensors:
        image_hw3 = byte_guard.decode_upright(encoded)
        table, count = compact.order_segments(outputs)
        category_n = table["category"][:count]
        number_n = tf.where(
            tf.gather(tf.constant(is_thing), category_n),
            _count_earlier(category_n) + 1,
            0,
        )
        colors_n3 = tf.gather_nd(
            tf.constant(shades), tf.stack([category_n, number_n], axis=1)
        )
        ids_hw = compact.get_ids(outputs, descriptor)
        # The numbers of the segments from 1 on, 0 for none.
        numbers_hw = compact.replace_ids(
            ids_hw,
            table["id"][:count],
            tf.range(1, count + 1)[:, tf.newaxis],
            [0],
            descriptor,
        )[..., 0]
        colors = tf.concat(
            [tf.constant([palette.VOID], tf.uint8), colors_n3], axis=0
        )
        painted = _blend(image_hw3, tf.gather(colors, numbers_hw))
        is_border = _find_borders(numbers_hw)[..., tf.newaxis]
        light = painted // visualizer.BORDER_DARKEN + visualizer.BORDER_LIGHT
        painted = tf.where(is_border, light, painted)
        png = tf.io.encode_png(tf.cast(painted, tf.uint8), _COMPRESSION)
        return {"overlay_png_bytes": png}

    spec = {"overlay_png_bytes": tf.TensorSpec([], tf.string)}
    return rows.Answer(spec, make)


def make_shades(
    descriptor: descriptor_lib.DatasetDescriptor, count: int
) -> npt.NDArray[np.uint8]:
    """Makes the colors of segments.

    Args:
        descriptor: The data set.
        count: Most segments of a class.

    Returns:
        uint8 [C, count + 1, 3], the color of each class and number in its
        class; 0 is the color of the class.
    """
    classes = palette.choose_class_colors(descriptor)
    numbers = np.tile(np.arange(count + 1), len(classes))
    repeated = np.repeat(classes, count + 1, axis=0)
    shades = palette.shade_instances(repeated, numbers)
    return shades.reshape(len(classes), count + 1, 3)


def _count_earlier(category_n: tf.Tensor) -> tf.Tensor:
    """Counts the earlier entries of the same value: int32 [N]."""
    same = category_n[:, tf.newaxis] == category_n[tf.newaxis]
    earlier = tf.linalg.band_part(tf.cast(same, tf.int32), -1, 0)
    return tf.reduce_sum(earlier, axis=1) - 1


def _blend(image_hw3: tf.Tensor, colors_hw3: tf.Tensor) -> tf.Tensor:
    """Mixes image and colors: int32 [H, W, 3]."""
    image, colors = (tf.cast(x, tf.float32) for x in (image_hw3, colors_hw3))
    return tf.cast(image + visualizer.ALPHA * (colors - image), tf.int32)


def _find_borders(numbers_hw: tf.Tensor) -> tf.Tensor:
    """Marks the pixels above and left of a change: bool [H, W]."""
    size = tf.cast(tf.shape(numbers_hw), tf.float32)
    thickness = tf.round(tf.reduce_min(size) / visualizer.BORDER_STEP)
    last = tf.maximum(tf.cast(thickness, tf.int32), 1)

    def mark(shift: tf.Tensor, found_hw: tf.Tensor) -> tuple[tf.Tensor, ...]:
        below = numbers_hw[shift:] != numbers_hw[:-shift]
        right = numbers_hw[:, shift:] != numbers_hw[:, :-shift]
        found_hw |= tf.pad(below, [[0, shift], [0, 0]])
        found_hw |= tf.pad(right, [[0, 0], [0, shift]])
        return shift + 1, found_hw

    _, found = tf.while_loop(
        lambda shift, _: shift <= last,
        mark,
        (tf.constant(1), tf.zeros(tf.shape(numbers_hw), tf.bool)),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None])),
    )
    return found
