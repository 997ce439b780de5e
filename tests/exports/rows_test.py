# SPDX-License-Identifier: Apache-2.0
"""Files of a request on several canvases, with a network of one comparison."""

import types

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from deeplab2_like.exports import compact, rows
from deeplab2_like.inference import buckets
from deeplab2_like.labels import coco_format
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.protos import config_pb2

_SCENES = descriptor_lib.load("scenes")
_SYSTEM = types.SimpleNamespace(descriptor=_SCENES)


def _segment(size):
    """Class 1 where red is bright, else 3; the score says which canvas."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, *size, 3], tf.float32),
            tf.TensorSpec([None, 2], tf.int32),
        ]
    )
    def segment(canvas_bhw3, valid_size_b2):
        semantic = tf.where(canvas_bhw3[..., 0] > 100, 1, 3)
        count = tf.shape(valid_size_b2)[0]

        def repeat(values):
            return tf.repeat(tf.constant([values]), count, axis=0)

        return {
            "semantic": semantic,
            "panoptic": semantic * 1000,
            "segment_id": repeat([3000, 0, 1000]),
            "segment_category": repeat([3, 0, 1]),
            "segment_score": repeat([size[0] / 1000, 0.0, size[1] / 1000]),
            "segment_area": repeat([0, 0, 0]),
            "segment_is_valid": repeat([True, False, True]),
        }

    return segment


def _make(canvas, max_pixels):
    text = "eval_dataset_options { crop_size: [33, 33] }"
    options = text_format.Parse(text, config_pb2.ExperimentOptions())
    made = [
        buckets.Bucket(built, _segment(built.crop_size))
        for built in buckets.build_preprocessings(options, canvas, 16)
    ]
    answer = compact.make_answer(_SCENES, rows.count_table_rows(made))
    serve = rows.FileRows(_SYSTEM, made, max_pixels, answer).serve
    return tf.function(
        serve, input_signature=[tf.TensorSpec([None], tf.string)]
    )


@pytest.fixture(scope="module")
def serve():
    return _make("33x65,65x129,129x65", max_pixels=100_000)


def _draw(size, seed):
    chance = np.random.RandomState(seed)
    blocks = chance.randint(0, 2, (3, 3, 1)) * 200 + [0, 0, 30]
    y, x = (np.arange(side) * 3 // side for side in size)
    return blocks[y[:, None], x[None, :]].astype(np.uint8)


_SIZES = [(20, 30), (65, 129), (100, 40), (33, 65), (34, 20), (9, 9)]
_CANVASES = [(33, 65), (65, 129), (129, 65), (33, 65), (65, 129), (33, 65)]
_IMAGES = [_draw(size, seed) for seed, size in enumerate(_SIZES)]
_FILES = [tf.io.encode_png(image).numpy() for image in _IMAGES]


def _run(serve, files):
    outputs = serve(tf.constant(files, tf.string))
    return {name: value.numpy() for name, value in outputs.items()}


def test_each_file_is_on_the_canvas_of_its_size(serve):
    outputs = _run(serve, _FILES)
    assert not outputs["error"].any()
    for index, (image, canvas) in enumerate(
        zip(_IMAGES, _CANVASES, strict=True)
    ):
        assert outputs["height"][index] == image.shape[0]
        png = tf.io.decode_png(outputs["panoptic_png_bytes"][index])
        numbers = coco_format.decode_ids(png.numpy())
        count = outputs["num_segments"][index]
        classes = [0, *outputs["segment_category_id"][index][:count]]
        names = np.take(classes, numbers)
        categories = _SCENES.category_ids
        np.testing.assert_array_equal(
            names, np.where(image[..., 0] > 100, categories[1], categories[3])
        )
        scores = outputs["segment_score"][index][:count]
        known = {3: canvas[0] / 1000, 1: canvas[1] / 1000}
        expected = [known[categories.index(c)] for c in classes[1:]]
        np.testing.assert_allclose(scores, expected)


def test_the_order_and_the_others_do_not_matter(serve):
    files = [_FILES[1], b"hello", _FILES[0], _FILES[4][:60], *_FILES[2:]]
    together = _run(serve, files)
    for index, file in enumerate(files):
        alone = _run(serve, [file])
        for name, value in together.items():
            np.testing.assert_array_equal(value[index], alone[name][0])
    assert together["error"].astype(bool).tolist() == [
        *[False, True, False, True],
        *[False] * 4,
    ]


def test_the_largest_canvas_limits_a_request():
    small = _make("33x65,65x129", max_pixels=3 * 65 * 129)
    assert len(_run(small, _FILES[:3])["error"]) == 3
    with pytest.raises(tf.errors.InvalidArgumentError, match="are 1 to 3: "):
        _run(small, _FILES[:4])


def test_the_number_of_files_follows_from_the_pixels():
    assert rows.max_rows(100, [(5, 5), (3, 3)]) == 4
    assert rows.max_rows(10, [(5, 5)]) == 1
    assert rows.max_rows(100, []) is None
