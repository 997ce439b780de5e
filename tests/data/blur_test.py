# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like.data import blur


def make_image(size=(23, 31), seed=0):
    generator = np.random.default_rng(seed)
    return generator.random((*size, 3), np.float32) * 255


def blur_in_numpy(image, sigma, max_sigma):
    """Averages the existing pixels of a square with Gaussian weights."""
    reach = int(np.ceil(3 * max_sigma))
    height, width, _ = image.shape
    result = np.empty(image.shape)
    for y in range(height):
        for x in range(width):
            rows = np.arange(max(0, y - reach), min(height, y + reach + 1))
            columns = np.arange(max(0, x - reach), min(width, x + reach + 1))
            weights = np.exp(
                -((rows[:, None] - y) ** 2 + (columns - x) ** 2)
                / (2 * sigma**2)
            )
            part = image[rows[:, None], columns].astype(np.float64)
            total = (part * weights[..., None]).sum((0, 1))
            result[y, x] = total / weights.sum()
    return result


@pytest.mark.parametrize("size", [(23, 31), (1, 1), (2, 17), (40, 3)])
@pytest.mark.parametrize(("sigma", "most"), [(0.5, 0.5), (0.7, 2.0), (2, 2)])
def test_blurring_follows_the_formula(size, sigma, most):
    image = make_image(size)
    blurred = blur.blur_image(image, np.float32(sigma), most).numpy()
    assert blurred.dtype == np.float32
    expected = blur_in_numpy(image, sigma, most)
    np.testing.assert_allclose(blurred, expected, atol=1e-3)


def test_a_tiny_sigma_changes_no_bit():
    image = make_image()
    blurred = blur.blur_image(image, np.float32(0.05), 2.0)
    np.testing.assert_array_equal(blurred, image)


@pytest.mark.parametrize("value", [0, 77, 255])
def test_areas_of_one_color_stay(value):
    image = np.full((19, 22, 3), value, np.float32)
    blurred = blur.blur_image(image, np.float32(1.7), 2.0).numpy()
    np.testing.assert_allclose(blurred, image, atol=1e-3)
    assert blurred.max() <= 255


def test_channels_are_apart_and_pixels_are_not_moved():
    image = np.zeros((31, 31, 3), np.float32)
    image[15, 13, 1] = 255
    blurred = blur.blur_image(image, np.float32(1.5), 2.0).numpy()
    assert not blurred[..., [0, 2]].any()
    place = np.unravel_index(blurred[..., 1].argmax(), (31, 31))
    assert place == (15, 13)
    np.testing.assert_allclose(blurred[15, 10], blurred[15, 16])
    np.testing.assert_allclose(blurred.sum(), 255, rtol=1e-5)


def test_images_are_blurred_as_often_and_as_much_as_the_options_say():
    options = blur.Blur(0.3, 0.5, 1.5)
    image = make_image((9, 9))
    draws = np.random.default_rng(0).random((200, 2), np.float32)
    blurred = [
        np.asarray(blur.blur_at_random(image, u, options)) for u in draws
    ]
    is_blurred = np.array([(b != image).any() for b in blurred])
    assert abs(is_blurred.mean() - 0.3) < 0.08
    np.testing.assert_array_equal(is_blurred, draws[:, 0] < np.float32(0.3))
    sigmas = blur.draw_sigma(draws[:, 1], options)
    counts, _ = np.histogram(sigmas, 4, (0.5, 1.5))
    assert counts.sum() == 200
    assert counts.min() > 30
    assert not blur.Blur().is_active
