# SPDX-License-Identifier: Apache-2.0
import colorsys

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.data import augmentation, color_jitter

STEPS = ("brightness", "contrast", "saturation", "hue")
WEIGHTS = np.array([0.299, 0.587, 0.114])


def make_image(height=7, width=9, seed=0):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


def change(image, uniform, **strengths):
    jitter = color_jitter.ColorJitter(**strengths)
    uniform = np.asarray(uniform, np.float32)
    return color_jitter.change_colors(image, uniform, jitter).numpy()


def turn_hue(pixel, turn):
    hue, saturation, value = colorsys.rgb_to_hsv(*pixel / 255)
    return np.array(colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value))


def change_in_numpy(image, uniform, strengths):
    """Follows the formulas of torchvision, in the order of the fields."""
    image = image.astype(np.float64)
    signed = dict(zip(STEPS, 2 * np.asarray(uniform) - 1, strict=True))
    factors = {s: 1 + strengths.get(s, 0) * signed[s] for s in STEPS}
    image = np.clip(image * factors["brightness"], 0, 255)
    mean = np.round(image @ WEIGHTS).mean()
    image = np.clip(mean + (image - mean) * factors["contrast"], 0, 255)
    gray = (image @ WEIGHTS)[..., None]
    image = np.clip(gray + (image - gray) * factors["saturation"], 0, 255)
    turn = strengths.get("hue", 0) * signed["hue"]
    return 255 * np.array(
        [[turn_hue(pixel, turn) for pixel in row] for row in image]
    )


@pytest.mark.parametrize(
    "strengths",
    [
        {"brightness": 0.4},
        {"contrast": 0.6},
        {"saturation": 0.8},
        {"hue": 0.5},
        {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
        {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.5},
    ],
)
@pytest.mark.parametrize("seed", range(4))
def test_colors_follow_the_formulas(strengths, seed):
    uniform = np.random.default_rng(seed).random(4)
    image = make_image(seed=seed)
    changed = change(image, uniform, **strengths)
    expected = change_in_numpy(image, uniform, strengths)
    np.testing.assert_allclose(changed, expected, atol=0.02)


@pytest.mark.parametrize("low_or_high", [0.0, 1 - 2**-24])
@pytest.mark.parametrize("step", STEPS)
def test_values_stay_in_their_range(step, low_or_high):
    for image in (make_image(), make_image(1, 1), make_image(40, 3)):
        strength = 0.5 if step == "hue" else 1.0
        changed = change(image, [low_or_high] * 4, **{step: strength})
        assert changed.dtype == np.float32
        assert changed.shape == image.shape
        assert 0 <= changed.min() <= changed.max() <= 255


def test_no_strength_changes_no_bit():
    image = np.random.default_rng(0).random((9, 5, 3)).astype(np.float32) * 255
    np.testing.assert_array_equal(change(image, [0.1, 0.9, 0.3, 0.7]), image)
    assert not color_jitter.ColorJitter().is_active
    for step in STEPS:
        assert color_jitter.ColorJitter(**{step: 0.01}).is_active


def test_the_middle_of_the_draws_changes_nothing():
    image = make_image()
    changed = change(image, [0.5] * 4, brightness=1, saturation=1, hue=0.5)
    np.testing.assert_allclose(changed, image, atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_gray_images_stay_gray(seed):
    image = np.repeat(make_image(seed=seed)[..., :1], 3, axis=2)
    uniform = np.random.default_rng(seed).random(4)
    changed = change(
        image, uniform, brightness=0.8, contrast=0.8, saturation=1, hue=0.5
    )
    assert (changed == changed[..., :1]).all()
    alone = change(image, uniform, brightness=0.8, contrast=0.8)
    np.testing.assert_allclose(changed, alone, atol=1e-3)


def test_more_brightness_is_brighter_and_more_contrast_spreads():
    image = make_image(20, 20) // 4 + 90
    darker, brighter = (
        change(image, [u, 0.5, 0.5, 0.5], brightness=0.3) for u in (0.0, 0.9)
    )
    assert darker.mean() < image.mean() < brighter.mean()
    flatter, steeper = (
        change(image, [0.5, u, 0.5, 0.5], contrast=0.3) for u in (0.0, 0.9)
    )
    assert flatter.std() < image.std() < steeper.std()
    assert abs(steeper.mean() - image.mean()) < 1


@pytest.mark.parametrize("mode", ["CONSTANT", "REFLECT"])
def test_padding_keeps_its_color_and_the_label_its_values(mode):
    image = make_image(5, 6)
    label = np.arange(30, dtype=np.int32).reshape(5, 6)
    jitter = color_jitter.ColorJitter(0.8, 0.5, 0.5, 0.2)
    uniform = tf.constant([0.9, 0.2, 0.1, 0.7])

    def place(recolor):
        return augmentation.place_on_canvas(
            image,
            label,
            augmentation.Placement(
                tf.constant([5, 6]), tf.constant([2, 1]), tf.constant(True)
            ),
            (9, 10),
            void=-1,
            padding_mode=mode,
            recolor=recolor,
        )

    _, plain_label = place(None)
    changed, changed_label = place(
        lambda part: color_jitter.change_colors(part, uniform, jitter)
    )
    np.testing.assert_array_equal(changed_label, plain_label)
    inside = plain_label.numpy() >= 0
    alone = color_jitter.change_colors(image, uniform, jitter).numpy()
    np.testing.assert_array_equal(
        changed.numpy()[inside], alone[:, ::-1].reshape(-1, 3)
    )
    if mode == "CONSTANT":
        assert (changed.numpy()[~inside] == 127.5).all()


def test_images_lose_their_colors_as_often_as_the_share_says():
    image = make_image().astype(np.float32)
    draws = np.linspace(0, 1, 20, endpoint=False, dtype=np.float32)
    turned = [np.asarray(color_jitter.turn_gray(image, u, 0.25)) for u in draws]
    gray = (image @ WEIGHTS)[..., None]
    for number, result in enumerate(turned):
        assert result.dtype == np.float32
        if number < 5:
            expected = np.repeat(gray, 3, axis=2)
            np.testing.assert_allclose(result, expected, atol=1e-3)
        else:
            np.testing.assert_array_equal(result, image)
