# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from deeplab2_like import errors
from deeplab2_like.data import preprocessing as preprocessing_lib
from deeplab2_like.inference import canvas
from deeplab2_like.protos import config_pb2
from deeplab2_like.results import original_size


def _make_options(evaluation, training=""):
    text = f"eval_dataset_options {{ {evaluation} }}"
    if training:
        text += f" train_dataset_options {{ {training} }}"
    return text_format.Parse(text, config_pb2.ExperimentOptions())


def _build(evaluation, choice, training=""):
    options = _make_options(evaluation, training)
    return canvas.build_preprocessing(options, choice, 16)


def test_the_canvas_is_that_of_the_evaluation():
    built = _build("crop_size: [129, 257] input_scale_factor: 2", "config")
    assert canvas.static_size(built) == (129, 257)
    assert built.input_scale_factor == 2
    built = _build("crop_size: [65, 65] pad_to_multiple_of: 16", "config")
    assert canvas.static_size(built) is None
    assert built.crop_size == (65, 65)


def test_without_evaluation_options_those_of_training_count():
    built = _build("", "config", training="crop_size: [33, 65]")
    assert built.crop_size == (33, 65)
    with pytest.raises(errors.ConfigError, match="no canvas"):
        _build("", "config")


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1, 1), (17, 17)), ((17, 18), (17, 33)), ((300, 7), (305, 17))],
)
def test_a_fitting_canvas_is_the_smallest_legal_one(size, expected):
    built = _build("crop_size: [129, 257] padding_mode: REFLECT", "fit")
    images = np.full((2, *size, 3), 7, np.uint8)
    placed, valid_size = canvas.place_images(images, built)
    assert placed.shape == (2, *expected, 3)
    np.testing.assert_array_equal(valid_size, [size, size])
    assert np.all(placed.numpy() == 7)


def test_a_given_canvas_holds_all_images():
    built = _build(
        "crop_size: [129, 257] max_resize_value: [129, 100]", "65,129"
    )
    assert canvas.static_size(built) == (65, 129)
    assert built.max_resize == (65, 100)
    placed, valid_size = canvas.place_images(
        np.zeros((1, 300, 200, 3), np.uint8), built
    )
    assert placed.shape == (1, 65, 129, 3)
    np.testing.assert_array_equal(valid_size, [[65, 43]])


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("64,129", "side of 64.*take 49 or 65"),
        ("65", "is not a size"),
        ("65,129,3", "is not a size"),
        ("large", "is not a size"),
        ("-15,33", "side of -15"),
    ],
)
def test_an_illegal_canvas_is_one_sentence(choice, message):
    with pytest.raises(errors.ConfigError, match=message):
        _build("crop_size: [129, 257]", choice)


@pytest.mark.parametrize("height", [1, 33, 40, 70])
@pytest.mark.parametrize("padding_mode", ["CONSTANT", "REFLECT"])
def test_each_image_gets_the_canvas_of_the_evaluation(height, padding_mode):
    built = _build(
        f"crop_size: [33, 65] padding_mode: {padding_mode} "
        "pad_to_multiple_of: 16 min_resize_value: 20 max_resize_value: 90",
        "config",
    )
    random_state = np.random.RandomState(height)
    images = random_state.randint(0, 256, (3, height, 50, 3), dtype=np.uint8)
    placed, sizes = tf.function(
        lambda images: canvas.place_images(images, built),
        input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)],
    )(images)
    for image, one, size in zip(images, placed, sizes, strict=True):
        expected = preprocessing_lib.make_evaluation_canvas(
            tf.constant(image), tf.zeros(image.shape[:2], tf.int32), built, 0
        )
        np.testing.assert_array_equal(one, expected[0])
        np.testing.assert_array_equal(size, expected[2])


@pytest.mark.parametrize(
    ("valid", "size"),
    [
        ((5, 9), (5, 9)),
        ((5, 9), (9, 17)),
        ((9, 17), (5, 9)),
        ((16, 31), (7, 300)),
        ((1, 1), (6, 4)),
        ((16, 3), (1, 1)),
        ((2, 2), (3, 5)),
    ],
)
def test_maps_come_back_as_in_the_evaluation(valid, size):
    maps = np.random.RandomState(0).randint(0, 9999, (2, 16, 31))
    restored = tf.function(canvas.restore_map)(
        tf.constant(maps), tf.constant(valid), tf.constant(size)
    )
    for one, restored_one in zip(maps, restored, strict=True):
        expected = original_size.resize_nearest(
            one[: valid[0], : valid[1]], size
        )
        np.testing.assert_array_equal(restored_one, expected)


def test_nearest_pixels_are_exact_for_every_pair_of_sizes():
    for source in (*range(1, 40), 513, 1025):
        row = np.arange(source)[np.newaxis]
        for target in (*range(1, 40), 257, 2047):
            expected = original_size.resize_nearest(row, (1, target))[0]
            np.testing.assert_array_equal(
                canvas._nearest(source, target), expected
            )
