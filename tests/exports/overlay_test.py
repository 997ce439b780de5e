# SPDX-License-Identifier: Apache-2.0
"""The picture of the graph is that of `visualize`."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deeplab2_like.exports import overlay
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.labels import palette
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.visualize import visualizer

_SCENES = descriptor_lib.load("scenes")


def _make_outputs(size, seed):
    """A map of blocks, and its table in random order with empty rows."""
    chance = np.random.RandomState(seed)
    ids = np.array([3000, 1000, 5001, 5002, 5007, 4001, _SCENES.void_id])
    blocks = ids[chance.randint(0, len(ids), (5, 6))]
    rows = np.arange(size[0]) * 5 // size[0]
    columns = np.arange(size[1]) * 6 // size[1]
    map_hw = blocks[rows[:, None], columns[None, :]].astype(np.int32)
    found = np.setdiff1d(np.unique(map_hw), [_SCENES.void_id])
    chance.shuffle(found)
    table = np.zeros(12, np.int32)
    place = np.sort(chance.permutation(12)[: len(found)])
    table[place] = found
    return {
        "panoptic": map_hw,
        "semantic": map_hw // 1000,
        "segment_id": table,
        "segment_category": table // 1000,
        "segment_score": np.where(table > 0, 0.5, 0.0).astype(np.float32),
        "segment_area": np.array([np.sum(map_hw == i) for i in table]),
        "segment_is_valid": table > 0,
    }


@pytest.mark.parametrize("size", [(40, 66), (1, 1), (1, 9), (1300, 905)])
def test_the_picture_is_that_of_the_visualizer(size):
    outputs = _make_outputs(size, seed=size[0])
    chance = np.random.RandomState(0)
    image = chance.randint(0, 256, (*size, 3), np.uint8)
    answer = overlay.make_answer(_SCENES, 12)
    make = tf.function(answer.make)
    made = make(
        tf.io.encode_png(image),
        {name: tf.constant(value) for name, value in outputs.items()},
    )
    assert set(made) == set(answer.spec) == {"overlay_png_bytes"}
    png = made["overlay_png_bytes"].numpy()
    found = np.asarray(Image.open(io.BytesIO(png)))
    result = PanopticResult.from_prediction(
        outputs["panoptic"],
        _SCENES,
        segment_ids=outputs["segment_id"],
        segment_scores=outputs["segment_score"],
        is_valid=outputs["segment_is_valid"],
    )
    expected = visualizer.visualize(
        image, result, _SCENES, scale=1, names=False, legend=False
    )
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_the_shades_are_those_of_the_palette():
    shades = overlay.make_shades(_SCENES, 4)
    colors = palette.choose_class_colors(_SCENES)
    assert shades.shape == (_SCENES.num_classes, 5, 3)
    np.testing.assert_array_equal(shades[:, 0], colors)
    np.testing.assert_array_equal(
        shades[5], palette.shade_instances(colors[[5] * 5], np.arange(5))
    )
