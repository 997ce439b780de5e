# SPDX-License-Identifier: Apache-2.0
"""Objects that are found in tiles: which are one, and what they become."""

import types

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.data import preprocessing
from deeplab2_like.large_images import network, parts, predicting
from deeplab2_like.large_images.options import LargeOptions
from deeplab2_like.large_images.source import Box
from deeplab2_like.postprocess.prediction import Prediction

_DIVISOR = 1000
_ROWS = 40


class _System:
    """Answers with the part of a label map that a tile shows.

    Instances have other numbers in each tile, as those of networks.
    """

    pixel_rules = None
    output_stride = 16
    descriptor = types.SimpleNamespace(
        label_divisor=_DIVISOR, num_classes=4, ignore_label=255
    )

    def __init__(self, limit=0):
        self._limit = limit

    def thresholds(self):
        return {
            "evaluator_options.stuff_area_limit": np.array(
                self._limit, np.int32
            )
        }

    def postprocess(self, outputs, *sizes, thresholds):
        assert len(sizes) == 2
        limit = thresholds["evaluator_options.stuff_area_limit"]
        found = tf.numpy_function(
            self._number, [outputs["labels"][0], limit], [tf.int32] * 5
        )
        panoptic, ids, category, score, area = found
        return Prediction(
            semantic=panoptic[tf.newaxis] // _DIVISOR,
            panoptic=panoptic[tf.newaxis],
            segment_id=ids[tf.newaxis],
            segment_category=category[tf.newaxis],
            segment_score=tf.cast(score, tf.float32)[tf.newaxis] / 10,
            segment_area=area[tf.newaxis],
            segment_is_valid=area[tf.newaxis] > 0,
            num_dropped=tf.zeros([1], tf.int32),
        )

    @staticmethod
    def _number(labels, limit):
        assert limit == 0  # The limit counts for the whole image.
        panoptic = np.full(labels.shape, 255 * _DIVISOR, np.int32)
        rows = np.zeros((4, _ROWS), np.int32)
        known = [n for n in np.unique(labels)[::-1] if n // _DIVISOR < 255]
        for row, label in enumerate(known):
            is_here = labels == label
            is_thing = label % _DIVISOR > 0
            number = label // _DIVISOR * _DIVISOR + (row + 1) * is_thing
            panoptic[is_here] = number
            rows[:, row] = (
                number,
                label // _DIVISOR,
                5 if is_thing else 10,
                is_here.sum(),
            )
        return panoptic, *rows


@pytest.fixture(name="predict")
def _predict(synthetic, quiet, tmp_path):
    def predict(
        labels,
        *,
        limit=0,
        tile=65,
        overlap=32,
        change=None,
        damaged=(),
        num_parts=0,
    ):
        def infer(canvas_bhw3):
            top, left = synthetic.read_place(canvas_bhw3)
            part = labels[top : top + tile, left : left + tile].copy()
            if change is not None:
                change(left, part)
            whole = np.full((tile, tile), 255 * _DIVISOR)
            whole[: part.shape[0], : part.shape[1]] = part
            return {"labels": tf.constant(whole[np.newaxis])}

        canvas = preprocessing.Preprocessing(crop_size=(33, 33))
        model = network.TileModel(_System(limit), canvas, infer, str(limit))
        image = synthetic.place_image(*labels.shape, damaged)
        options, work = LargeOptions(tile, overlap, 3000), tmp_path / "work"
        for number in range(1, num_parts + 1):
            part = parts.Part(number, num_parts)
            path = part.name_folder(work)
            predicting.predict_part(model, image, options, path, part, quiet)
        return predicting.predict_large(
            model, image, options, work, quiet, parts=parts.find_folders(work)
        )

    return predict


def _draw():
    """Two long objects of a class, one small, two kinds of stuff, void."""
    labels = np.zeros((150, 170), np.int64)
    labels[:, 120:] = _DIVISOR
    labels[10:30, 5:160] = 2 * _DIVISOR + 7
    labels[40:140, 60:90] = 2 * _DIVISOR + 3
    labels[141:149, 2:20] = 3 * _DIVISOR + 1
    labels[145:, 165:] = 255 * _DIVISOR
    return labels


def _assert_same_partition(found, labels):
    """Each segment of the one is one of the other."""
    pairs = np.unique(np.stack([found.ravel(), labels.ravel()]), axis=1)
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == len(pairs.T)
    assert np.array_equal(found == 0, labels // _DIVISOR == 255)


def test_an_object_across_tiles_is_one(predict):
    labels = _draw()
    found = predict(labels)
    ids = found.labels.read(0, 150)
    _assert_same_partition(ids, labels)
    table = found.segments
    assert table.category.tolist() == [2, 2, 3, 0, 1]
    assert table.is_thing.tolist() == [True, True, True, False, False]
    np.testing.assert_allclose(table.score, [0.5, 0.5, 0.5, 1, 1])
    for row, number in enumerate(table.id):
        y, x = np.nonzero(ids == number)
        assert table.area[row] == len(y)
        box = (y.min(), x.min(), y.max() + 1, x.max() + 1)
        assert tuple(table.bbox[row]) == box
    assert found.num_merged > 4


@pytest.mark.parametrize("tile", [17, 33])
def test_the_smallest_tiles_share_what_they_can(predict, tile):
    labels = _draw()
    found = predict(labels, tile=tile, overlap=None)
    ids = found.labels.read(0, 150)
    assert np.array_equal(ids == 0, labels // _DIVISOR == 255)
    assert found.segments.area.sum() == np.count_nonzero(ids)


def test_parts_of_tiles_are_joined(predict, tmp_path):
    labels = _draw()
    found = predict(labels, num_parts=3).labels.read(0, 150)
    _assert_same_partition(found, labels)
    assert [path.name for path in tmp_path.iterdir()] == ["work"]


def test_the_area_limit_of_stuff_is_that_of_the_whole(predict):
    labels = _draw()
    labels[0:5, 0:30] = 3 * _DIVISOR  # A region that two tiles see.
    area = 150
    assert predict(labels, limit=area).labels.read(0, 1)[0, 0]
    assert not predict(labels, limit=area + 1).labels.read(0, 1)[0, 0]


def test_objects_that_disagree_are_not_one(predict):
    """Less than half of what both show in the band: cut in its middle."""
    labels = np.zeros((65, 129), np.int64)
    labels[10:50, 20:110] = 2 * _DIVISOR + 1

    def shorten(left, part):
        if left:
            is_object = part > 0
            is_object[:30] = False
            part[(part > 0) & ~is_object] = 0

    found = predict(labels, change=shorten)
    assert found.num_merged == 1  # The second and the third tile agree.
    assert found.segments.is_thing.sum() == 2
    columns = np.nonzero(found.labels.read(40, 41)[0] == 1)[0]
    assert columns.min() == 20


def test_damage_is_void(predict):
    labels = _draw()
    found = predict(labels, damaged=(Box(20, 20, 60, 80),))
    ids = found.labels.read(0, 150)
    assert not ids[20:60, 20:80].any()
    assert found.segments.area.sum() == np.count_nonzero(ids)
    assert "left void" in found.problems[0]


def test_an_image_without_segments_is_valid(predict):
    found = predict(np.full((80, 90), 255 * _DIVISOR))
    assert len(found.segments) == 0
    assert not found.labels.read(0, 80).any()
