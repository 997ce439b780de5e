# SPDX-License-Identifier: Apache-2.0
"""Images at another scale are read, and results brought back, as in memory."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.data import augmentation
from deeplab2_like.large_images import peaks, predicting, scaled
from deeplab2_like.large_images.options import LargeOptions
from deeplab2_like.large_images.result import LargeResult, Segments
from deeplab2_like.large_images.source import Box

_SIZES = [((37, 53), 2.0), ((64, 31), 0.5), ((41, 29), 1.7), ((5, 9), 0.25)]


def _resize(image, label, size):
    """Resizes as preprocessing does."""
    placement = augmentation.Placement(
        tf.constant(size), tf.constant([0, 0]), tf.constant(False)
    )
    found = augmentation.place_on_canvas(
        tf.constant(image), tf.constant(label), placement, size, void=0
    )
    return [values.numpy() for values in found]


def _draw(size, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*size, 3), np.uint8)
    return image, rng.integers(0, 9, size).astype(np.int32)


@pytest.mark.parametrize(("size", "factor"), _SIZES)
def test_it_is_read_as_preprocessing_scales_it(synthetic, size, factor):
    image, label = _draw(size, 1)
    found = scaled.ScaledImage(synthetic.ArrayImage(image), factor)
    expected = augmentation.compute_scaled_size(tf.constant(size), factor)
    height, width = expected.numpy().tolist()
    assert (found.height, found.width) == (height, width)
    whole = found.read(0, 0, height, width)
    assert (whole.image.dtype, whole.damaged) == (np.uint8, ())
    resized, _ = _resize(image, label, (height, width))
    assert np.abs(whole.image - resized).max() < 0.501
    rng = np.random.default_rng(2)
    for _ in range(20):
        top, left = rng.integers(0, height), rng.integers(0, width)
        bottom = rng.integers(top, height) + 1
        right = rng.integers(left, width) + 1
        part = found.read(top, left, bottom, right).image
        expected = whole.image[top:bottom, left:right]
        np.testing.assert_array_equal(part, expected)


@pytest.mark.parametrize(("size", "factor"), _SIZES)
def test_what_damage_and_missing_values_reach_is_void(synthetic, size, factor):
    image = np.full((*size, 3), 255, np.uint8)
    damage = Box(1, 3, 3, 5)
    void = np.zeros(size, bool)
    void[3:, :2] = True
    array = synthetic.ArrayImage(image, (damage,), void)
    found = scaled.ScaledImage(array, factor)
    window = found.read(0, 0, found.height, found.width)
    # Black pixels are those that a damaged one has a part in.
    y, x = np.nonzero((window.image < 255).any(axis=2))
    boxes = window.damaged
    if len(y):
        (box,) = boxes
        first, last = [y.min(), x.min()], [y.max(), x.max()]
        assert (np.array(box[:2]) <= first).all()
        assert (np.array(box[2:]) > last).all()
        inside = np.array(found.locate(box))
        assert (inside[:2] <= damage[:2]).all()
        assert (inside[2:] >= damage[2:]).all()
    _, nearest = _resize(
        image, void.astype(np.int32), (found.height, found.width)
    )
    np.testing.assert_array_equal(window.void, nearest == 1)


class _ArrayLabels:
    def __init__(self, ids):
        self._ids = ids
        self.height, self.width = ids.shape

    def read(self, top, bottom):
        return self._ids[top:bottom].astype(np.uint32)


@pytest.mark.parametrize(("size", "factor"), _SIZES)
def test_a_result_is_brought_back(synthetic, monkeypatch, size, factor):
    monkeypatch.setattr(scaled, "_BAND_PIXELS", 3 * size[1])
    image, _ = _draw(size, 3)
    shown = scaled.ScaledImage(synthetic.ArrayImage(image), factor)
    # Some segments are of one pixel, which may vanish.
    _, ids = _draw((shown.height, shown.width), 4)
    ids.ravel()[::7] = 9 + np.arange(len(ids.ravel()[::7]))
    number = int(ids.max())
    every = np.arange(1, number + 1)
    segments = Segments(
        id=every.astype(np.uint32),
        category=(every % 3).astype(np.int32),
        is_thing=every % 2 == 0,
        area=every,
        bbox=np.zeros((number, 4), np.int64),
        score=(every / 1000).astype(np.float32),
    )
    found = scaled.restore(
        LargeResult(_ArrayLabels(ids), segments, ("one",), 5), shown
    )
    assert (found.problems, found.num_merged) == (("one",), 5)
    zeros = np.zeros((*ids.shape, 3), np.uint8)
    _, expected = _resize(zeros, ids, size)
    labels = found.labels.read(0, size[0])
    table = found.segments
    np.testing.assert_array_equal(table.id, np.arange(1, len(table) + 1))
    kept = np.unique(expected[expected > 0])
    assert len(table) == len(kept)
    assert len(kept) < number or factor < 1
    for row, old in enumerate(kept):
        is_here = expected == old
        np.testing.assert_array_equal(labels == row + 1, is_here)
        y, x = np.nonzero(is_here)
        box = [y.min(), x.min(), y.max() + 1, x.max() + 1]
        assert table.bbox[row].tolist() == box
        assert table.area[row] == is_here.sum()
        assert table.category[row] == old % 3
        assert table.is_thing[row] == (old % 2 == 0)
        assert table.score[row] == np.float32(old / 1000)
    np.testing.assert_array_equal(labels == 0, expected == 0)


def test_a_model_that_enlarges_images_predicts_them_at_their_size(
    synthetic, quiet, tmp_path
):
    size, enlarged = (20, 30), (40, 60)
    heads = synthetic.make_heads(5, enlarged, 4)
    rules = synthetic.make_rules(limit=40)
    model = synthetic.make_model(heads, rules, 4)
    model = dataclasses.replace(
        model,
        preprocessing=dataclasses.replace(
            model.preprocessing, input_scale_factor=2.0
        ),
    )
    image = synthetic.place_image(*size)
    options = LargeOptions(65, 0)
    found = [
        predicting.predict_large(model, image, options, tmp_path, quiet)
        for _ in range(2)  # The second time from the work files.
    ]
    limit = peaks.scale_limit(40, enlarged, 65)
    whole = synthetic.segment_whole(heads, rules, enlarged, limit)
    ids, _ = synthetic.number_segments(whole, rules, enlarged)
    zeros = np.zeros((*enlarged, 3), np.uint8)
    _, expected = _resize(zeros, ids.astype(np.int32), size)
    _, numbered = np.unique(expected, return_inverse=True)
    numbered = numbered.reshape(size) + (0 if (expected == 0).any() else 1)
    for result in found:
        np.testing.assert_array_equal(result.labels.read(0, 20), numbered)
        assert len(result.segments) == numbered.max() > 3
        assert result.segments.area.sum() == (numbered > 0).sum()
