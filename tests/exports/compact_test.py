# SPDX-License-Identifier: Apache-2.0
"""The compact signature: the same as the maps, and no row hurts another."""

import dataclasses
import io
import random
import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deeplab2_like import config as config_lib
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.checkpoints import initialization
from deeplab2_like.config import run_config
from deeplab2_like.exports import compact, serving
from deeplab2_like.inference import canvas
from deeplab2_like.labels import coco_format
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.meta_architectures import build
from deeplab2_like.predict import panoptic_model
from deeplab2_like.predict.predictor import Predictor
from deeplab2_like.scenes import scene

_SIZES = [(65, 129), (100, 37), (200, 150), (33, 40)]


def _encode(image, kind="PNG", **options):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **options)
    return stream.getvalue()


_FILES = [
    _encode(scene.make_scene(seed, size).image)
    for seed, size in enumerate(_SIZES)
]
_JPEG = _encode(scene.make_scene(9, (65, 129)).image, "JPEG")


@pytest.fixture(scope="module")
def predictor(exported):
    return Predictor.from_saved_model(exported)


@pytest.fixture(scope="module")
def serve(exported):
    """The signature as a function of files, to arrays."""
    loaded = tf.saved_model.load(str(exported))

    def run(*files):
        outputs = loaded.signatures["encoded_compact"](
            image_bytes=tf.constant(list(files), tf.string)
        )
        return {name: value.numpy() for name, value in outputs.items()}

    return run


@pytest.fixture(scope="module")
def fitting(tiny_run):
    """Signatures whose canvas depends on the image, not saved."""
    options = run_config.load_run_config(str(tiny_run))
    system = build.build_system(options, descriptor_lib.load("scenes"))
    model = system.build_model(synchronize_batch_norm=False)
    initialization.restore_all(
        checkpoint_files.find_checkpoint(str(tiny_run)), model
    )
    return serving.ServingModule(
        system,
        model,
        [canvas.build_preprocessing(options, "fit", system.output_stride)],
        serving.ServingOptions(max_pixels=30_000),
    ).functions


def _decode_png(data):
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "RGB"
        return coco_format.decode_ids(np.asarray(image))


def _check_row(row, result):
    """Compares the answer of one file with a `PanopticResult`."""
    assert row["error"] == b""
    assert (row["height"], row["width"]) == (result.height, result.width)
    np.testing.assert_array_equal(
        _decode_png(row["panoptic_png_bytes"]), result.segmentation
    )
    count = row["num_segments"]
    assert count == len(result.segments_info)
    for name, key in (
        ("id", "id"),
        ("category_id", "category_id"),
        ("isthing", "isthing"),
        ("score", "score"),
        ("area", "area"),
    ):
        column = row[f"segment_{name}"]
        expected = [info[key] for info in result.segments_info]
        assert column[:count].tolist() == expected, name
        assert not column[count:].any(), name


def _take(outputs, index):
    return {name: value[index] for name, value in outputs.items()}


def _assert_same(row, other):
    for name, value in row.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def test_it_says_what_the_maps_say(serve, predictor):
    outputs = serve(*_FILES)
    num_segments = 0
    for index, file in enumerate(_FILES):
        image = tf.io.decode_png(file).numpy()
        _check_row(_take(outputs, index), predictor.predict(image))
        num_segments += outputs["num_segments"][index]
    assert num_segments > len(_FILES), "the test shows nothing"


def test_images_of_any_sizes_are_answered_as_if_alone(serve):
    together = serve(*_FILES, _JPEG)
    for index, file in enumerate((*_FILES, _JPEG)):
        _assert_same(_take(together, index), _take(serve(file), 0))


def test_turned_photos_have_the_size_that_viewers_show(serve, predictor):
    exif = Image.Exif()
    exif[274] = 6
    turned = _encode(
        scene.make_scene(2, (60, 90)).image, "JPEG", exif=exif, quality=95
    )
    row = _take(serve(turned), 0)
    assert (row["height"], row["width"]) == (90, 60)
    pixels = np.rot90(tf.io.decode_jpeg(turned).numpy(), -1)
    _check_row(row, predictor.predict(np.ascontiguousarray(pixels)))


def _make_16_bits():
    return tf.io.encode_png(np.ones((5, 6, 3), np.uint16)).numpy()


_BROKEN = {
    "nothing": (b"", "neither a JPEG nor a PNG"),
    "text": (b"hello", "neither a JPEG nor a PNG"),
    "another kind": (
        _encode(np.ones((4, 4, 3), np.uint8), "GIF"),
        "neither a JPEG nor a PNG",
    ),
    "JPEG without a size": (b"\xff\xd8\xff" + bytes(20), "is damaged"),
    "half a JPEG": (_JPEG[: len(_JPEG) // 2], "is damaged"),
    "half a PNG": (_FILES[0][: len(_FILES[0]) // 2], "is damaged"),
    "16 bits": (_make_16_bits(), r"\(16 bits\)"),
    "too large": (
        _FILES[0][:16] + b"\0\1\0\0" * 2 + _FILES[0][24:],
        "height 65536 and the width 65536, as stored. Allowed are 1 to 2000",
    ),
    "no pixels": (_FILES[0][:16] + bytes(8) + _FILES[0][24:], "height 0"),
    "many scans": (_JPEG + b"\xff\xda" * 60, "61 scans"),
}


@pytest.mark.parametrize("name", list(_BROKEN))
def test_a_broken_file_gets_a_sentence_and_hurts_no_other(serve, name):
    file, sentence = _BROKEN[name]
    outputs = serve(_FILES[0], file, _FILES[1])
    error = outputs["error"][1].decode()
    assert re.search(sentence, error)
    assert error.endswith(".")
    assert "\n" not in error
    refused = _take(outputs, 1)
    assert refused["panoptic_png_bytes"] == b""
    for key in ("num_segments", "segment_id", "height", "width"):
        assert not np.any(refused[key])
    for index, good in ((0, 0), (2, 1)):
        _assert_same(_take(outputs, index), _take(serve(_FILES[good]), 0))


def test_broken_files_alone_are_answered(serve):
    files = [file for file, _ in _BROKEN.values()]
    outputs = serve(*files)
    assert all(outputs["error"])
    assert not outputs["num_segments"].any()


def test_mutated_files_are_answered_in_one_sentence(serve):
    chance = random.Random(0)
    files = []
    for number in range(40):
        data = bytearray((_JPEG, _FILES[number % 4])[number % 2])
        for _ in range(chance.randint(1, 20)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        del data[chance.randrange(1, len(data)) :]
        files.append(bytes(data))
    outputs = serve(*files, _FILES[0])
    assert sum(1 for error in outputs["error"] if error) > 20
    for error, png in zip(
        outputs["error"], outputs["panoptic_png_bytes"], strict=True
    ):
        assert bool(error) != bool(png)
        assert len(error.decode().splitlines()) <= 1
    _assert_same(_take(outputs, 40), _take(serve(_FILES[0]), 0))


def test_a_request_without_files_is_refused(serve):
    with pytest.raises(tf.errors.InvalidArgumentError, match="has no image"):
        serve()


@pytest.mark.slow
def test_canvases_of_their_own_give_the_same(fitting):
    outputs = fitting["encoded_compact"](tf.constant([*_FILES, b"hello"]))
    rows = {name: value.numpy() for name, value in outputs.items()}
    assert rows["error"][4]
    for index, file in enumerate(_FILES):
        maps = fitting["encoded"](tf.constant([file]))
        ids = maps["segment_id"][0][maps["segment_is_valid"][0]].numpy()
        row = _take(rows, index)
        numbers = _decode_png(row["panoptic_png_bytes"])
        table = np.concatenate([[255_000], ids])
        np.testing.assert_array_equal(
            table[numbers], maps["panoptic"][0].numpy()
        )


def test_an_image_above_the_limit_is_refused_alone(fitting):
    large = _encode(np.zeros((200, 200, 3), np.uint8))
    outputs = fitting["encoded_compact"](tf.constant([large, _FILES[0]]))
    assert b"200 and the width 200" in outputs["error"][0].numpy()
    assert outputs["error"][1].numpy() == b""


_SEMANTIC = """
model_options {
  backbone {
    name: "mobilenet_v3_small"
    use_squeeze_and_excite: true
    output_stride: 16
  }
  decoder {
    feature_key: "res5"
    decoder_channels: 16
    aspp_channels: 16
    atrous_rates: [3, 6, 9]
  }
  deeplab_v3 { }
}
trainer_options {
  loss_options { semantic_loss { name: "softmax_cross_entropy" } }
}
train_dataset_options { dataset: "scenes" crop_size: [65, 129] }
eval_dataset_options { dataset: "scenes" crop_size: [65, 129] }
"""


@pytest.mark.slow
def test_models_without_instances_answer_with_their_classes():
    config = config_lib.parse(_SEMANTIC)
    model = panoptic_model.build_model(config)
    module = serving.ServingModule(
        model.system,
        model.network,
        [canvas.build_preprocessing(config.options, "config", 16)],
        serving.ServingOptions(max_pixels=30_000),
    )
    outputs = module.functions["encoded_compact"](
        tf.constant([_FILES[0], b"", _FILES[1]])
    )
    rows = {name: value.numpy() for name, value in outputs.items()}
    assert rows["error"].astype(bool).tolist() == [False, True, False]
    for row, file in ((0, _FILES[0]), (2, _FILES[1])):
        expected = model.predict(tf.io.decode_png(file).numpy())
        _check_row(_take(rows, row), expected)


@pytest.mark.parametrize("divisor", [1000, 2**20])
def test_ids_become_the_values_of_their_segments(divisor):
    classes = 12
    descriptor = descriptor_lib.load("scenes")
    descriptor = dataclasses.replace(
        descriptor, num_classes=classes, label_divisor=divisor
    )
    known = np.arange(300, dtype=np.int32)[::-1] * (divisor // 100) + 1
    chance = np.random.RandomState(0)
    numbers = chance.randint(0, 301, (20, 30))
    ids = np.where(numbers == 0, descriptor.void_id, known[numbers - 1])
    values = np.arange(1, 301)[:, np.newaxis] * [1, 1000]
    found = compact.replace_ids(
        tf.constant(ids),
        tf.constant(known),
        tf.constant(values),
        [0, 7],
        descriptor,
    )
    np.testing.assert_array_equal(found[..., 0], numbers)
    np.testing.assert_array_equal(
        found[..., 1], np.where(numbers == 0, 7, 1000 * numbers)
    )
