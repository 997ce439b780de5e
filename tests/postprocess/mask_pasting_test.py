# SPDX-License-Identifier: Apache-2.0
"""Pasting of masks against a twin in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.postprocess import mask_pasting

SIZE = (70, 150)


def _lerp(values, place):
    """Interpolates along the first axis, with zeros around."""
    padded = np.pad(values, [(1, 1)] + [(0, 0)] * (values.ndim - 1))
    place = np.clip(place + np.float32(1), 0, len(padded) - 1)
    lower = np.minimum(np.floor(place), len(padded) - 2).astype(int)
    fraction = (place - lower).astype(np.float32)[:, None]
    return padded[lower] + fraction * (padded[lower + 1] - padded[lower])


def paste_twin(mask, box, size, threshold):
    """Interpolates the mask at the center of every pixel of the image."""
    result = mask
    insides = []
    for axis in (1, 0):
        start, end = box[axis], box[axis + 2]
        center = np.arange(size[axis], dtype=np.float32) + np.float32(0.5)
        if end <= start:
            return np.zeros(size, bool)
        share = (center - start) / (end - start)
        place = share * np.float32(mask.shape[axis]) - np.float32(0.5)
        result = _lerp(result.T, place)
        insides.insert(0, (center >= start) & (center <= end))
    return (result >= threshold) & insides[0][:, None] & insides[1]


def make_case(rng, side):
    mask = rng.random((side, side)).astype(np.float32)
    kind = rng.integers(5)
    if kind == 0:
        mask = np.round(mask)  # values that are hit exactly
    if kind == 1:
        mask[:] = rng.integers(2)
    step = rng.choice([1.0, 0.01])
    low = np.round(rng.uniform(-20, SIZE) / step) * step
    side = np.round(rng.choice([0, 1, 30, 200]) * rng.random(2) / step) * step
    box = np.concatenate([low, low + side])
    if rng.random() < 0.1:
        box = np.array([0, 0, *SIZE])  # touches all borders
    return mask, box.astype(np.float32)


@pytest.mark.parametrize("mode", ["graph", "xla"])
@pytest.mark.parametrize("side", [7, 28])
def test_1000_masks_equal_the_twin(mode, side):
    rng = np.random.default_rng(side)

    def paste(mask, box):
        return mask_pasting.paste_mask(mask, box, SIZE)

    paste = tf.function(paste, jit_compile=mode == "xla", autograph=False)
    for _ in range(1000):
        mask, box = make_case(rng, side)
        actual = paste(tf.constant(mask), tf.constant(box)).numpy()
        expected = paste_twin(mask, box, SIZE, np.float32(0.5))
        np.testing.assert_array_equal(actual, expected, f"{box}")


def test_eager_mode_gives_the_same():
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask, box = make_case(rng, 7)
        actual = mask_pasting.paste_mask(
            tf.constant(mask), tf.constant(box), SIZE
        )
        expected = paste_twin(mask, box, SIZE, np.float32(0.5))
        np.testing.assert_array_equal(actual, expected)


def test_a_full_mask_covers_the_pixels_whose_centers_are_in_its_box():
    drawn = mask_pasting.paste_mask(
        tf.ones([28, 28]), tf.constant([1.4, 2.6, 4.5, 4.4]), (6, 6)
    )
    y, x = np.nonzero(drawn.numpy())
    assert (y.min(), y.max(), x.min(), x.max()) == (1, 4, 3, 3)


def test_a_mask_of_the_size_of_its_box_is_copied():
    mask = np.random.default_rng(1).integers(0, 2, (33, 47))
    drawn = mask_pasting.paste_mask(
        tf.constant(mask, tf.float32), tf.constant([5.0, 9, 38, 56]), SIZE
    )
    expected = np.zeros(SIZE, bool)
    expected[5:38, 9:56] = mask
    np.testing.assert_array_equal(drawn, expected)


def test_masks_without_values_and_boxes_without_area_draw_nothing():
    for mask, box in (
        (np.full((7, 7), np.nan), [0, 0, 9, 9]),
        (np.ones((7, 7)), [5, 5, 5, 9]),
        (np.ones((7, 7)), [9, 9, 5, 5]),
        (np.ones((7, 7)), [80, 10, 90, 20]),
        (np.ones((7, 7)), [-9, 10, -1, 20]),
    ):
        drawn = mask_pasting.paste_mask(
            tf.constant(mask, tf.float32), tf.constant(box, tf.float32), SIZE
        )
        assert not drawn.numpy().any()
