# SPDX-License-Identifier: Apache-2.0
"""Pasting of masks against a twin in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.postprocess.masks import pasting

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


@pytest.mark.parametrize(
    ("mode", "side", "count"),
    [
        ("graph", 7, 200),
        ("xla", 28, 200),
        *(
            pytest.param(mode, side, 1000, marks=pytest.mark.slow)
            for mode in ("graph", "xla")
            for side in (7, 28)
        ),
    ],
)
def test_many_masks_equal_the_twin(mode, side, count):
    rng = np.random.default_rng(side)

    def paste(mask, box):
        return pasting.paste_mask(mask, box, SIZE)

    paste = tf.function(paste, jit_compile=mode == "xla", autograph=False)
    for _ in range(count):
        mask, box = make_case(rng, side)
        actual = paste(tf.constant(mask), tf.constant(box)).numpy()
        expected = paste_twin(mask, box, SIZE, np.float32(0.5))
        np.testing.assert_array_equal(actual, expected, f"{box}")


def test_eager_mode_gives_the_same():
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask, box = make_case(rng, 7)
        actual = pasting.paste_mask(tf.constant(mask), tf.constant(box), SIZE)
        expected = paste_twin(mask, box, SIZE, np.float32(0.5))
        np.testing.assert_array_equal(actual, expected)


def test_a_full_mask_covers_the_pixels_whose_centers_are_in_its_box():
    drawn = pasting.paste_mask(
        tf.ones([28, 28]), tf.constant([1.4, 2.6, 4.5, 4.4]), (6, 6)
    )
    y, x = np.nonzero(drawn.numpy())
    assert (y.min(), y.max(), x.min(), x.max()) == (1, 4, 3, 3)


def test_a_mask_of_the_size_of_its_box_is_copied():
    mask = np.random.default_rng(1).integers(0, 2, (33, 47))
    drawn = pasting.paste_mask(
        tf.constant(mask, tf.float32), tf.constant([5.0, 9, 38, 56]), SIZE
    )
    expected = np.zeros(SIZE, bool)
    expected[5:38, 9:56] = mask
    np.testing.assert_array_equal(drawn, expected)


def _find_kinds(mask, box, size, valid_size):
    """Returns the tiles that are covered and that are mixed, as pixels."""
    grid = pasting.TileGrid.of(size)
    placed = pasting.place_mask(
        pasting.pad_masks(mask[tf.newaxis])[0], box, valid_size
    )
    kinds = pasting.classify_tiles(placed, grid, 0.5)
    side = pasting.TILE
    return [
        grid.to_image(tf.tile(tf.reshape(kind, [-1, 1, 1]), [1, side, side]))
        for kind in kinds
    ]


def test_tiles_need_not_be_drawn_only_where_the_result_is_known(monkeypatch):
    monkeypatch.setattr(pasting, "TILE", 8)
    size = (50, 70)
    find = tf.function(
        lambda *x: _find_kinds(*x[:2], size, x[2]), autograph=False
    )
    rng = np.random.default_rng(0)
    covered = empty = 0
    for _ in range(300):
        cells = np.kron(rng.random((4, 4)) < 0.7, np.ones((7, 7)))
        noise = rng.random((28, 28)) * rng.choice([0.1, 0.5, 1.0])
        mask = np.abs(cells - noise).astype(np.float32)
        mask[0, 0] = rng.choice([np.nan, 1.0])
        low = rng.uniform(-20, 20, 2)
        box = np.concatenate([low, low + rng.uniform(20, 80, 2)])
        valid_size = rng.integers(30, size) if rng.random() < 0.5 else size
        arguments = (mask, box.astype(np.float32), np.array(valid_size, "i4"))
        is_covered, is_mixed = find(*map(tf.constant, arguments))
        drawn = paste_twin(*arguments[:2], size, np.float32(0.5))
        drawn[valid_size[0] :] = False
        drawn[:, valid_size[1] :] = False
        assert drawn[is_covered.numpy()].all()
        is_empty = ~(is_covered | is_mixed).numpy()
        assert not drawn[is_empty].any()
        covered += is_covered.numpy().sum()
        empty += is_empty.sum()
    assert covered > 1000
    assert empty > 1000


def test_masks_without_values_and_boxes_without_area_draw_nothing():
    for mask, box in (
        (np.full((7, 7), np.nan), [0, 0, 9, 9]),
        (np.ones((7, 7)), [5, 5, 5, 9]),
        (np.ones((7, 7)), [9, 9, 5, 5]),
        (np.ones((7, 7)), [80, 10, 90, 20]),
        (np.ones((7, 7)), [-9, 10, -1, 20]),
    ):
        drawn = pasting.paste_mask(
            tf.constant(mask, tf.float32), tf.constant(box, tf.float32), SIZE
        )
        assert not drawn.numpy().any()
