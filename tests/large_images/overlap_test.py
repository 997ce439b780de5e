# SPDX-License-Identifier: Apache-2.0
"""The overlap follows from how far the borders of tiles reach."""

import types

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.data import preprocessing
from deeplab2_like.large_images import network, overlap, tiling
from deeplab2_like.large_images.options import LargeOptions

_TILE = 257


def _make_network(spoiled, tile=_TILE):
    """Classes by brightness; within `spoiled` pixels of borders, another."""

    def infer(canvas_bhw3):
        bright = canvas_bhw3[:, ::4, ::4, :1] / 255.0
        places = np.arange(tile // 4 + 1)
        position = np.minimum(places, places[::-1]) * 4
        inside = np.minimum(position[:, None], position)
        wrong = tf.constant(inside < spoiled, tf.float32)[None, ..., None]
        bright = bright * (1 - wrong) + (1 - bright) * wrong
        return {"semantic_logits": tf.concat([bright, 1 - bright], 3) * 20}

    system = types.SimpleNamespace(pixel_rules=None, output_stride=16)
    options = preprocessing.Preprocessing(crop_size=(33, 33))
    model = network.TileModel(system, options, infer, "one")
    return network.TileNetwork(model, LargeOptions(tile))


@pytest.mark.parametrize(
    ("spoiled", "expected"),
    [(0, 32), (8, 48), (16, 48), (17, 96), (40, 128)],
)
def test_it_is_three_times_what_borders_reach(synthetic, spoiled, expected):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 2, (700, 650, 3)).astype(np.uint8) * 255
    image = synthetic.ArrayImage(pixels)
    assert overlap.measure(_make_network(spoiled), image) == expected


def test_images_of_one_row_of_tiles_are_measured_along_it(synthetic):
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 2, (100, 900, 3)).astype(np.uint8) * 255
    image = synthetic.ArrayImage(pixels)
    assert overlap.measure(_make_network(16), image) == 48
    assert image.reads == 2


def test_an_image_of_one_tile_needs_none(synthetic):
    image = synthetic.ArrayImage(np.zeros((257, 250, 3), np.uint8))
    assert overlap.measure(_make_network(16), image) == 0
    assert image.reads == 0


@pytest.mark.parametrize("spoiled", [0, 16, 100])
@pytest.mark.parametrize("tile", [17, 33, 49, 65])
@pytest.mark.parametrize("size", [(16, 40), (18, 34), (90, 70)])
def test_tiles_can_have_what_is_measured(synthetic, size, tile, spoiled):
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 2, (*size, 3)).astype(np.uint8) * 255
    net = _make_network(spoiled, tile)
    found = overlap.measure(net, synthetic.ArrayImage(pixels))
    assert found <= min(tile // 2, tiling.find_largest_overlap(tile, 16))
    made = tiling.make_tiling(size, tile, found, 16)
    assert {box[2:] for box in made.boxes()} >= {size}
