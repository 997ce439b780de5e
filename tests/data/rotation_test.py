# SPDX-License-Identifier: Apache-2.0
import functools
import math

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.data import augmentation, rotation

VOID = 65535 * 32767  # No float32 has this value.
GRAY = (127.5, 127.5, 127.5)


def make_image(height, width, seed=0):
    generator = np.random.default_rng(seed)
    image = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    label = generator.integers(0, 2**31 - 1, (height, width), dtype=np.int32)
    return image, label


@functools.cache
def make_function(canvas, color, recolor):
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, 3], tf.uint8),
            tf.TensorSpec([None, None], tf.int32),
            *[tf.TensorSpec([2], tf.int32)] * 2,
            tf.TensorSpec([], tf.bool),
            tf.TensorSpec([]),
        ]
    )
    def rotate(image, label, scaled, offset, is_flipped, angle):
        return rotation.rotate_on_canvas(
            image,
            label,
            augmentation.Placement(scaled, offset, is_flipped),
            angle,
            canvas,
            void=VOID,
            padding_color=color,
            recolor=recolor,
        )

    return rotate


def rotate(
    image,
    label,
    degrees,
    canvas,
    scaled=None,
    offset=(0, 0),
    flip=False,
    color=GRAY,
    recolor=None,
):
    scaled = label.shape if scaled is None else scaled
    function = make_function(canvas, color, recolor)
    turned = function(image, label, scaled, offset, flip, math.radians(degrees))
    return [tensor.numpy() for tensor in turned]


def place(image, label, canvas, scaled=None, offset=(0, 0), flip=False):
    placement = augmentation.Placement(
        tf.constant(label.shape if scaled is None else scaled),
        tf.constant(offset),
        tf.constant(flip),
    )
    placed = augmentation.place_on_canvas(
        image, tf.constant(label), placement, canvas, void=VOID
    )
    return [tensor.numpy() for tensor in placed]


def find_source(y, x, degrees, canvas, scaled, offset, flip):
    """Computes the place in the scaled image that a canvas pixel shows."""
    if flip:
        x = canvas[1] - 1 - x
    middle = [
        (max(o, 0) + min(o + s, c) - 1) / 2
        for o, s, c in zip(offset, scaled, canvas, strict=True)
    ]
    angle = math.radians(degrees)
    dy, dx = y - middle[0], x - middle[1]
    return (
        middle[0] + math.cos(angle) * dy + math.sin(angle) * dx - offset[0],
        middle[1] - math.sin(angle) * dy + math.cos(angle) * dx - offset[1],
    )


PLACES = [
    # Canvas, scaled size, offset: a crop, an image within, both.
    ((33, 41), (60, 71), (-13, -17)),
    ((49, 65), (20, 31), (9, 20)),
    ((33, 65), (47, 29), (-5, 11)),
    ((33, 41), (33, 41), (0, 0)),
]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("canvas", "scaled", "offset"), PLACES)
def test_no_angle_changes_nothing(canvas, scaled, offset, flip):
    image, label = make_image(*scaled)
    turned = rotate(image, label, 0, canvas, scaled, offset, flip)
    placed = place(image, label, canvas, scaled, offset, flip)
    np.testing.assert_allclose(turned[0], placed[0], atol=1e-3)
    np.testing.assert_array_equal(turned[1], placed[1])


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("degrees", [-45, -10, 3, 30])
@pytest.mark.parametrize(("canvas", "scaled", "offset"), PLACES)
def test_each_pixel_is_looked_up_where_the_formula_says(
    canvas, scaled, offset, degrees, flip
):
    image, label = make_image(25, 34)
    image[..., 0] = np.arange(25)[:, None] * 10
    image[..., 1] = np.arange(34) * 7
    turned, turned_label = rotate(
        image, label, degrees, canvas, scaled, offset, flip
    )
    assert turned.dtype == np.float32
    ratios = [(n - 1) / (s - 1) for n, s in zip((25, 34), scaled, strict=True)]
    unsure = 0
    for y in range(canvas[0]):
        for x in range(canvas[1]):
            place = find_source(y, x, degrees, canvas, scaled, offset, flip)
            margin = min(
                min(p + 0.5, s - 0.5 - p)
                for p, s in zip(place, scaled, strict=True)
            )
            source = [p * r for p, r in zip(place, ratios, strict=True)]
            nearest = np.clip(np.floor(np.add(source, 0.5)), 0, (24, 33))
            fractions = np.abs(np.subtract(source, nearest))
            if abs(margin) < 1e-3 or (abs(fractions - 0.5) < 1e-3).any():
                unsure += 1
            elif margin < 0:
                assert turned_label[y, x] == VOID
                assert tuple(turned[y, x]) == GRAY
            else:
                row, column = nearest.astype(int)
                assert turned_label[y, x] == label[row, column]
                if 0 <= source[0] <= 24 and 0 <= source[1] <= 33:
                    np.testing.assert_allclose(
                        turned[y, x, :2],
                        (source[0] * 10, source[1] * 7),
                        atol=0.01,
                    )
    assert unsure < 0.2 * canvas[0] * canvas[1]


@pytest.mark.parametrize("degrees", [-20, 7, 45])
def test_a_marked_pixel_takes_its_label_along(degrees):
    for seed in range(5):
        generator = np.random.default_rng(seed)
        image = np.zeros((60, 60, 3), np.uint8)
        label = np.zeros((60, 60), np.int32)
        y, x = generator.integers(20, 40, 2)
        image[y - 1 : y + 2, x - 1 : x + 2] = 255
        label[y - 1 : y + 2, x - 1 : x + 2] = 7
        turned, turned_label = rotate(
            image, label, degrees, (49, 49), offset=(-6, -5), flip=seed % 2 == 1
        )
        bright = turned[..., 0] * (turned_label != VOID)
        np.testing.assert_allclose(
            np.argwhere(bright > 127).mean(0),
            np.argwhere(turned_label == 7).mean(0),
            atol=0.5,
        )


def test_a_crop_is_filled_from_beyond_its_border():
    image, label = make_image(90, 90)
    _, turned = rotate(image, label, 12, (33, 33), offset=(-28, -28))
    assert (turned != VOID).all()


def test_only_the_corners_of_a_whole_image_are_void():
    image, label = make_image(65, 97)
    _, turned = rotate(image, label, 10, (65, 97))
    is_void = turned == VOID
    assert is_void[0, 0]
    assert is_void[-1, -1]
    assert not is_void[32].any()
    assert 0.05 < is_void.mean() < 0.2


def test_positive_angles_turn_counter_clockwise():
    image, label = np.zeros((33, 33, 3), np.uint8), np.zeros((33, 33), np.int32)
    label[15:18, 28:31] = 1  # To the right of the middle.
    _, turned = rotate(image, label, 30, (33, 33))
    assert np.argwhere(turned == 1).mean(0)[0] < 14  # Above it.


@pytest.mark.parametrize("degrees", [0.5, 33])
def test_ids_keep_their_values(degrees):
    image, label = make_image(30, 30)
    _, turned = rotate(image, label, degrees, (33, 33))
    assert set(turned.ravel()) <= {*label.ravel(), VOID}


def test_padding_has_its_color_and_is_not_recolored():
    image, label = make_image(20, 26)
    color = (1.0, 2.0, 3.5)

    def recolor(part):
        assert part.shape == (33, 41, 3)
        return 255.0 - part

    plain, plain_label = rotate(image, label, 20, (33, 41), color=color)
    turned, turned_label = rotate(
        image, label, 20, (33, 41), color=color, recolor=recolor
    )
    np.testing.assert_array_equal(turned_label, plain_label)
    is_void = turned_label == VOID
    assert (turned[is_void] == color).all()
    np.testing.assert_allclose(turned[~is_void], 255 - plain[~is_void])


def test_mirrored_padding_is_made_of_the_image():
    image = np.full((20, 26, 3), 50, np.uint8)
    label = np.ones((20, 26), np.int32)
    turned, turned_label = rotate(image, label, 20, (65, 65), color=None)
    np.testing.assert_allclose(turned, 50)
    assert (turned_label == VOID).any()


def test_an_image_of_one_pixel_can_be_turned():
    image, label = make_image(1, 1)
    turned, turned_label = rotate(image, label, 40, (3, 3), offset=(1, 1))
    assert (turned_label == label).sum() == 1
    assert turned_label[1, 1] == label
    np.testing.assert_array_equal(turned[1, 1], image[0, 0])


def test_angles_are_drawn_evenly_in_both_directions():
    options = rotation.Rotation(10.0)
    draws = np.linspace(0, 1, 400, endpoint=False, dtype=np.float32)
    angles = np.degrees(rotation.draw_angle(draws, options))
    counts, _ = np.histogram(angles, 8, (-10, 10))
    assert counts.sum() == 400
    assert counts.max() - counts.min() <= 2
    assert not rotation.Rotation().is_active
    assert not rotation.Rotation(5.0, 0.0).is_active
