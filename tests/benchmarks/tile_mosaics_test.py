# SPDX-License-Identifier: Apache-2.0
import itertools

import numpy as np
import tensorflow as tf

from benchmarks import large_images, seams, tile_mosaics
from deeplab2_like.large_images.options import LargeOptions
from deeplab2_like.scenes import scene


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
            assert all(n % seams.DIVISOR == 0 for n in some & other)


def test_tiles_of_a_network_without_context_are_the_whole():
    drawn = large_images.DrawnImage(192, 192).read(0, 0, 192, 192).image
    is_disc = drawn[..., 0] > 0
    truth = np.where(is_disc, 256 + 1, 0)
    model = large_images.make_synthetic()
    comparison = tile_mosaics.Comparison(model, LargeOptions(129, 32))
    comparison.add([(drawn, truth)] * 4)
    row = comparison.row()
    assert (row["mosaic"], row["mosaics"]) == ("2 x 2", 1)
    assert row["tiles against whole: PQ"] == 100
    assert (row["split"], row["cut"]) == (0, 0)
    assert row["found, whole"] == row["found, tiles"] > 4
    assert row["PQ, whole"] == row["PQ, tiles"]
    comparison.add([(drawn, truth)] * 4)
    both = comparison.row()
    assert both["found, tiles"] == 2 * row["found, tiles"]
    assert both["PQ, tiles"] == row["PQ, tiles"]


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
