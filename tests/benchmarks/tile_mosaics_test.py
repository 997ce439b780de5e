# SPDX-License-Identifier: Apache-2.0
import itertools

import numpy as np
import tensorflow as tf

from benchmarks import large_images, tile_mosaics
from deeplab2_like.large_images import tiling
from deeplab2_like.large_images.options import LargeOptions
from deeplab2_like.scenes import scene


def test_objects_that_are_cut_are_counted():
    divisor = tile_mosaics._DIVISOR
    whole = np.full((10, 20), 5 * divisor)
    whole[:, 5:15] = 6 * divisor + 1
    lines = np.zeros(10, bool), np.arange(20) == 14
    tiled = whole.copy()
    assert tile_mosaics.count_cut(whole, tiled, lines) == (0, 0)
    tiled[:, 14:15] = 6 * divisor + 2
    assert tile_mosaics.count_cut(whole, tiled, lines) == (1, 1)
    tiled[:, 13:15] = 6 * divisor + 2
    assert tile_mosaics.count_cut(whole, tiled, lines) == (1, 0)
    tiled[:, 13:14] = tiled[1:, 14:15] = 5 * divisor  # Less than a tenth.
    assert tile_mosaics.count_cut(whole, tiled, lines) == (0, 0)


def test_lines_are_where_tiles_meet():
    made = tiling.make_tiling((65, 113), 65, 16, 16)
    rows, columns = tile_mosaics.find_lines(made, (65, 113))
    assert not rows.any()
    # Weights begin at 52 and end at 60; the middle is 56.
    assert np.flatnonzero(columns).tolist() == [*range(50, 62)]
    # Of an image that the network sees twice as large.
    _, columns = tile_mosaics.find_lines(made, (33, 57))
    assert np.flatnonzero(columns).tolist() == [*range(25, 31)]


def test_objects_of_mosaics_have_numbers_of_their_own():
    examples = [*itertools.islice(tile_mosaics.draw_scenes(), 4)]
    pixels, truth = tile_mosaics.make_mosaic(examples, scene.LABEL_DIVISOR)
    first = examples[0]
    height, width = first[1].shape
    assert pixels.shape == (2 * height, 2 * width, 3)
    np.testing.assert_array_equal(pixels[:height, :width], first[0])
    quarters = [
        {*np.unique(truth[y : y + height, x : x + width]).tolist()}
        for y in (0, height)
        for x in (0, width)
    ]
    for index, some in enumerate(quarters):
        for other in quarters[:index]:
            assert all(n % tile_mosaics._DIVISOR == 0 for n in some & other)


def test_tiles_of_a_network_without_context_are_the_whole():
    drawn = large_images.DrawnImage(192, 192).read(0, 0, 192, 192).image
    is_disc = drawn[..., 0] > 0
    truth = np.where(is_disc, 256 + 1, 0)
    model = large_images.make_synthetic()
    row = tile_mosaics.compare(
        model, [(drawn, truth)] * 4, LargeOptions(129, 32)
    )
    assert row["mosaic"] == "2 x 2"
    assert row["tiles against whole: PQ"] == 100
    assert (row["split"], row["cut"]) == (0, 0)
    assert row["found, whole"] == row["found, tiles"] > 4
    assert row["PQ, whole"] == row["PQ, tiles"]


def test_the_most_frequent_size_is_read(tmp_path):
    from deeplab2_like.data.records import features
    from deeplab2_like.labels import descriptor

    dataset = descriptor.make(["ground"], ["disc"])
    path = str(tmp_path / "val-00000-of-00001.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for index, size in enumerate([(8, 9), (5, 6), (8, 9)]):
            image = np.full((*size, 3), index, np.uint8)
            writer.write(
                features.encode_example(
                    name=str(index),
                    image=tf.io.encode_png(image).numpy(),
                    image_format="png",
                    size=size,
                    panoptic=np.zeros(size, np.int32),
                )
            )
    found = tile_mosaics.read_records(path, dataset)
    assert [example[0][0, 0, 0] for example in found] == [0, 2]
