# SPDX-License-Identifier: Apache-2.0
import functools

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.data import augmentation

VOID = -7


def make_image(height, width, seed=0):
    generator = np.random.default_rng(seed)
    image = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    label = generator.integers(0, 99, (height, width), dtype=np.int32)
    return image, label


@functools.cache
def make_function(padding_mode):
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, 3], tf.uint8),
            tf.TensorSpec([None, None], tf.int32),
            *[tf.TensorSpec([2], tf.int32)] * 3,
            tf.TensorSpec([], tf.bool),
        ]
    )
    def place(image, label, scaled, offset, canvas, is_flipped):
        return augmentation.place_on_canvas(
            image,
            label,
            augmentation.Placement(scaled, offset, is_flipped),
            canvas,
            void=VOID,
            padding_mode=padding_mode,
        )

    return place


def place(
    image,
    label,
    scaled,
    offset=(0, 0),
    canvas=None,
    flip=False,
    mode="CONSTANT",
):
    canvas = scaled if canvas is None else canvas
    placed = make_function(mode)(image, label, scaled, offset, canvas, flip)
    return [tensor.numpy() for tensor in placed]


def resize_by_tensorflow(image, label, size):
    resized = tf.compat.v1.image.resize(
        image[None].astype(np.float32), size, align_corners=True
    )
    nearest = tf.compat.v1.image.resize(
        label[None, ..., None],
        size,
        method=tf.image.ResizeMethod.NEAREST_NEIGHBOR,
        align_corners=True,
    )
    return resized[0].numpy(), nearest[0, ..., 0].numpy()


def draw_sizes(count, seed=0):
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, 70, (count, 4))
    special = [(1, 1, 5, 5), (1, 9, 3, 1), (9, 9, 1, 1), (2, 2, 2, 2)]
    return [tuple(map(int, size)) for size in sizes] + special


@pytest.mark.parametrize("sizes", draw_sizes(40))
def test_resizing_is_that_of_tensorflow_with_aligned_corners(sizes):
    image, label = make_image(*sizes[:2])
    placed, placed_label = place(image, label, sizes[2:])
    expected, expected_label = resize_by_tensorflow(image, label, sizes[2:])
    np.testing.assert_allclose(placed, expected, atol=1e-3)
    np.testing.assert_array_equal(placed_label, expected_label)


@pytest.mark.parametrize("sizes", draw_sizes(20, seed=1))
@pytest.mark.parametrize("flip", [False, True])
def test_resizing_padding_cropping_flipping_are_as_one_by_one(sizes, flip):
    image, label = make_image(20, 31, seed=2)
    scaled, canvas = sizes[:2], sizes[2:]
    generator = np.random.default_rng(sum(sizes))
    offset = [
        int(generator.integers(0, c - s + 1) if c > s else -(s - c) // 2)
        for s, c in zip(scaled, canvas, strict=True)
    ]
    placed, placed_label = place(image, label, scaled, offset, canvas, flip)

    expected, expected_label = resize_by_tensorflow(image, label, scaled)
    before = np.maximum(offset, 0)
    after = np.maximum(np.array(canvas) - scaled - before, 0)
    margins = list(zip(before, after, strict=True))
    expected = np.pad(expected, [*margins, (0, 0)], constant_values=127.5)
    expected_label = np.pad(expected_label, margins, constant_values=VOID)
    y, x = np.maximum(-np.array(offset), 0)
    expected = expected[y : y + canvas[0], x : x + canvas[1]]
    expected_label = expected_label[y : y + canvas[0], x : x + canvas[1]]
    step = -1 if flip else 1
    np.testing.assert_allclose(placed, expected[:, ::step], atol=1e-3)
    np.testing.assert_array_equal(placed_label, expected_label[:, ::step])


def test_a_crop_is_bit_for_bit_a_part_of_the_whole():
    image, label = make_image(40, 50)
    whole, _ = place(image, label, (71, 93))
    part, _ = place(image, label, (71, 93), (-13, -27), (33, 44))
    np.testing.assert_array_equal(part, whole[13:46, 27:71])


@pytest.mark.parametrize("scaled", [(5, 7), (30, 41), (2, 3)])
def test_reflected_padding_mirrors_as_often_as_it_takes(scaled):
    image, label = make_image(5, 7)
    placed, placed_label = place(
        image, label, scaled, (4, 11), (40, 57), mode="REFLECT"
    )
    inside, _ = resize_by_tensorflow(image, label, scaled)
    margins = [
        (before, max(0, canvas - size - before))
        for before, canvas, size in zip((4, 11), (40, 57), scaled, strict=True)
    ]
    expected = np.pad(inside, [*margins, (0, 0)], mode="reflect")
    np.testing.assert_allclose(placed, expected[:40, :57], atol=1e-3)
    is_void = np.ones((40, 57), bool)
    is_void[4 : 4 + scaled[0], 11 : 11 + scaled[1]] = False
    np.testing.assert_array_equal(placed_label == VOID, is_void)


def test_a_single_pixel_can_be_reflected():
    image, label = make_image(1, 1)
    placed, _ = place(image, label, (1, 1), (0, 0), (3, 4), mode="REFLECT")
    np.testing.assert_array_equal(placed, np.tile(image, (3, 4, 1)))


def test_padding_has_the_color_that_was_given():
    image, label = make_image(5, 7)
    color = (123.675, 116.28, 103.53)
    for is_flipped in (False, True):
        placed, _ = augmentation.place_on_canvas(
            image,
            tf.constant(label),
            augmentation.Placement(
                tf.constant([5, 7]), tf.constant([1, 2]), is_flipped
            ),
            (9, 12),
            void=VOID,
            padding_color=color,
        )
        placed = placed[:, ::-1] if is_flipped else placed
        np.testing.assert_array_equal(placed[1:6, 2:9], image)
        is_image = np.zeros((9, 12), bool)
        is_image[1:6, 2:9] = True
        rest = placed.numpy()[~is_image]
        np.testing.assert_array_equal(rest, np.tile(np.float32(color), (73, 1)))


def test_an_unknown_padding_mode_is_refused():
    image, label = make_image(2, 2)
    with pytest.raises(ValueError, match="'reflect', not CONSTANT or REFLECT"):
        place(image, label, (2, 2), mode="reflect")


def test_labels_keep_their_values():
    image, label = make_image(23, 17)
    for sizes in draw_sizes(20, seed=3):
        _, placed = place(image, label, sizes[:2], (0, -1), sizes[2:])
        assert set(placed.ravel()) <= {*label.ravel(), VOID}


@pytest.mark.parametrize(
    ("size", "minimum", "maximum", "factor", "expected"),
    [
        # The larger of the two ratios, then smaller if that is too large.
        ((100, 200), (50, 50), None, None, (50, 100)),
        ((100, 200), (300, 300), None, None, (300, 600)),
        ((100, 200), (300, 300), (400, 400), None, (200, 400)),
        ((480, 640), (641, 641), (641, 641), None, (481, 641)),
        # The maximum alone never enlarges.
        ((100, 200), None, (400, 400), None, (100, 200)),
        ((100, 200), None, (400, 100), None, (50, 100)),
        ((100, 200), None, None, None, (100, 200)),
        # Multiples plus one, within the maximum.
        ((100, 200), None, None, 16, (113, 209)),
        ((97, 193), None, None, 16, (97, 193)),
        ((100, 200), None, (200, 200), 16, (97, 193)),
    ],
)
def test_sizes_fit_the_range(size, minimum, maximum, factor, expected):
    fitted = augmentation.compute_range_size(
        tf.constant(size), minimum, maximum, factor
    )
    np.testing.assert_array_equal(fitted, expected)


def test_the_canvas_is_the_smallest_legal_one_above_the_crop():
    for size in range(1, 130):
        canvas = augmentation.compute_canvas_size(
            tf.constant([size, size]), (49, 33), 16
        )
        legal = [16 * k + 1 for k in range(1, 20) if 16 * k + 1 >= size]
        expected = [max(49, legal[0]), max(33, legal[0])]
        np.testing.assert_array_equal(canvas, expected)
        canvas = augmentation.compute_canvas_size(
            tf.constant([size, size]), (48, 32), 16, 0
        )
        even = -(-size // 16) * 16
        np.testing.assert_array_equal(canvas, [max(48, even), max(32, even)])
    fixed = augmentation.compute_canvas_size(tf.constant([99, 3]), (49, 33), 0)
    np.testing.assert_array_equal(fixed, (49, 33))


def test_offsets_reach_every_place():
    scaled, crop = tf.constant([20, 40]), (33, 33)
    offsets, flips = set(), []
    for uniform in np.random.default_rng(0).random((800, 3), np.float32):
        placement = augmentation.draw_placement(uniform, scaled, crop)
        offsets.add(tuple(placement.offset.numpy()))
        flips.append(bool(placement.is_flipped))
    assert {y for y, _ in offsets} == set(range(13))
    assert {x for _, x in offsets} == set(range(-7, 1))
    assert 0.44 < np.mean(flips) < 0.56


def test_the_largest_draw_stays_inside():
    almost_one = np.full(3, np.nextafter(np.float32(1), 0), np.float32)
    placement = augmentation.draw_placement(
        almost_one, tf.constant([5000, 10]), (129, 129)
    )
    np.testing.assert_array_equal(placement.offset, (129 - 5000, 118))
    same = augmentation.draw_placement(
        almost_one, tf.constant([129, 130]), (129, 129)
    )
    np.testing.assert_array_equal(same.offset, (0, -1))
