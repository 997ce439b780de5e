# SPDX-License-Identifier: Apache-2.0
"""The operations against Pillow, and twins in NumPy where deeplab2 differs."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from deeplab2_like.data import policy_operations

FACTORS = [0.136, 0.28, 0.46, 1.0, 1.36, 1.9]
SIZES = [(40, 53), (3, 3), (1, 1), (2, 9), (300, 260)]


def make_image(size, seed=0):
    generator = np.random.default_rng(seed)
    # Smooth, not noise only, so that channels have different histograms.
    ramp = np.linspace(20, 200, size[1])[None, :, None]
    noise = generator.normal(0, 30, (*size, 3)) * (1, 0.5, 2)
    return np.clip(ramp + noise, 0, 255).astype(np.uint8)


def blend(image, other, factor):
    other = other.astype(np.float64)
    blended = other + factor * (image - other)
    return np.clip(blended, 0, 255)


def assert_near(changed, expected, most=1):
    """Compares with values that are rounded in another way."""
    changed = np.asarray(changed)
    assert changed.dtype == np.uint8
    difference = np.abs(changed.astype(float) - np.asarray(expected))
    assert difference.max(initial=0) <= most


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("factor", FACTORS)
def test_brightness_and_color_are_those_of_pillow(size, factor):
    image = make_image(size)
    for change, enhance in (
        (policy_operations.change_brightness, ImageEnhance.Brightness),
        (policy_operations.change_color, ImageEnhance.Color),
    ):
        expected = enhance(Image.fromarray(image)).enhance(factor)
        # The grey of a pixel may differ by one level, times the factor.
        assert_near(change(image, factor), expected, 2)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("factor", FACTORS)
def test_sharpness_is_that_of_pillow_with_another_rounding(size, factor):
    image = make_image(size)
    changed = policy_operations.sharpen(image, factor)
    expected = ImageEnhance.Sharpness(Image.fromarray(image)).enhance(factor)
    if min(size) >= 3:
        assert_near(changed, expected, 2)
    else:
        np.testing.assert_array_equal(changed, image)
    border = np.ones(size, bool)
    border[1:-1, 1:-1] = False
    np.testing.assert_array_equal(np.asarray(changed)[border], image[border])


def test_sharpening_leaves_areas_of_one_color():
    for value in range(256):
        image = np.full((5, 6, 3), value, np.uint8)
        for factor in (0.28, 1.9):
            changed = policy_operations.sharpen(image, factor)
            np.testing.assert_array_equal(changed, image)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("factor", FACTORS)
def test_contrast_blends_with_the_number_of_pixels_as_in_deeplab2(size, factor):
    image = make_image(size)
    level = np.full((), min(size[0] * size[1] // 256, 255))
    expected = blend(image, level, factor)
    assert_near(policy_operations.change_contrast(image, factor), expected)


def test_contrast_of_images_of_usual_sizes_blends_with_white():
    image = make_image((256, 255))
    paler = policy_operations.change_contrast(image, 0.46)
    assert paler.numpy().min() >= 137
    darker = policy_operations.change_contrast(image, 1.9)
    assert darker.numpy().mean() < image.mean()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("threshold", [0, 35, 179, 255, 256, 300])
def test_solarizing_is_that_of_pillow(size, threshold):
    image = make_image(size)
    expected = ImageOps.solarize(Image.fromarray(image), threshold)
    changed = policy_operations.solarize(image, threshold)
    np.testing.assert_array_equal(changed, expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(3))
def test_equalizing_is_that_of_pillow(size, seed):
    image = make_image(size, seed)
    expected = ImageOps.equalize(Image.fromarray(image))
    np.testing.assert_array_equal(policy_operations.equalize(image), expected)


def test_one_color_stays_when_it_is_equalized():
    image = np.full((9, 9, 3), (3, 120, 255), np.uint8)
    np.testing.assert_array_equal(policy_operations.equalize(image), image)


@pytest.mark.parametrize("size", SIZES)
def test_a_factor_of_one_changes_no_bit(size):
    image = make_image(size)
    for name in ("brightness", "color", "contrast"):
        change = getattr(policy_operations, f"change_{name}")
        np.testing.assert_array_equal(change(image, 1.0), image)
    np.testing.assert_array_equal(policy_operations.sharpen(image, 1.0), image)
