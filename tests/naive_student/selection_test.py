# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.naive_student import selection


def _draw(seed=0, num_classes=3, size=(40, 50)):
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, num_classes, size)
    return classes, (0.2 + 0.8 * rng.random(size)).astype(np.float32) ** (
        1 + classes
    )


def test_pixels_below_the_threshold_of_their_class_are_dropped():
    classes, confidence = _draw()
    thresholds = selection.combine(0.2, [0.0, 0.5, 0.9])
    assert thresholds.of_class == (0.2, 0.5, 0.9)
    dropped = thresholds.find_dropped(classes, confidence)
    expected = confidence < np.array([0.2, 0.5, 0.9])[classes]
    np.testing.assert_array_equal(dropped, expected)


def test_void_is_never_dropped_by_a_threshold():
    thresholds = selection.Thresholds((0.5, 0.5))
    dropped = thresholds.find_dropped(
        np.array([[255, 0]]), np.zeros((1, 2), np.float32)
    )
    np.testing.assert_array_equal(dropped, [[False, True]])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_each_class_keeps_the_same_share_of_its_pixels(share):
    histogram = selection.ClassHistogram(4)
    images = [_draw(seed) for seed in range(4)]
    for classes, confidence in images:
        histogram.add(classes, confidence)
    limits = histogram.find_thresholds(share)
    assert limits[3] == 0  # It has no pixel.
    for index in range(3):
        values = np.concatenate([p[c == index] for c, p in images])
        kept = (values >= np.float32(limits[index])).mean()
        assert share - 1e-3 <= kept <= min(1, share + 0.02)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("sureness", [3.0, 8.0, 14.0])
def test_a_sure_class_keeps_no_more_than_its_share(share, sureness):
    """Softmax of a trained model: most probabilities are close to 1."""
    rng = np.random.default_rng(1)
    logits = rng.normal(sureness, 1.0, (200, 300))
    confidence = (1 / (1 + np.exp(-logits))).astype(np.float32)
    histogram = selection.ClassHistogram(1)
    histogram.add(np.zeros(confidence.shape, np.uint8), confidence)
    (limit,) = histogram.find_thresholds(share)
    thresholds = selection.combine(0.0, [limit])
    dropped = thresholds.find_dropped(np.zeros((200, 300), int), confidence)
    # Steps of float32 below 1 are 6e-8, where 1 - p is 8e-7 on average.
    atol = 0.01 if sureness < 14 else 0.08
    assert share <= 1 - dropped.mean() <= share + atol


def test_pixels_of_probability_one_are_all_kept():
    histogram = selection.ClassHistogram(1)
    histogram.add(np.zeros((9, 9), int), np.ones((9, 9), np.float32))
    assert histogram.find_thresholds(0.1) == [1.0]


def test_void_pixels_count_for_no_class():
    histogram = selection.ClassHistogram(2)
    histogram.add(np.full((3, 3), 255), np.ones((3, 3), np.float32))
    assert histogram.find_thresholds(0.5) == [0, 0]


def _save(path, ignored):
    Image.fromarray(np.where(ignored, 255, 0).astype(np.uint8)).save(path)
    return str(path)


def test_a_mask_is_scaled_to_images_of_the_same_shape(tmp_path):
    ignored = np.zeros((20, 40), bool)
    ignored[10:] = True
    mask = selection.IgnoreMask.load(_save(tmp_path / "m.png", ignored))
    np.testing.assert_array_equal(mask.at_size((20, 40)), ignored)
    scaled = mask.at_size((40, 80))
    assert scaled[20:].all()
    assert not scaled[:20].any()
    with pytest.raises(errors.DataError, match="another ratio"):
        mask.at_size((40, 40))


@pytest.mark.parametrize(("value", "word"), [(0, "nothing"), (1, "everything")])
def test_a_mask_of_all_or_nothing_is_refused(tmp_path, value, word):
    path = _save(tmp_path / "m.png", np.full((4, 4), value, bool))
    with pytest.raises(errors.DataError, match=word):
        selection.IgnoreMask.load(path)
