# SPDX-License-Identifier: Apache-2.0
import io
import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deeplab2_like.data import (
    blur,
    color_jitter,
    graph_errors,
    unlabeled,
    unlabeled_files,
)
from deeplab2_like.data.preprocessing import Preprocessing
from deeplab2_like.data.records import features as record_features
from deeplab2_like.data.records import writer as record_writer

SIZES = [(40, 50), (20, 60), (33, 33), (17, 9), (50, 20), (33, 41), (8, 8)]
COLORS = unlabeled.ColorRules(
    color_jitter.ColorJitter(0.5, 0.5, 0.5, 0.25), 0.2, blur.Blur(0.5)
)
# Random changes are for images with labels.
OPTIONS = Preprocessing((33, 33), min_scale=0.5, max_scale=2.0)


def encode(size, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 255, [*size, 3], np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return pixels, stream.getvalue()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Returns a folder of image files; the last of them is 33 x 33."""
    folder = tmp_path_factory.mktemp("images")
    for index, size in enumerate(SIZES):
        (folder / f"{index}.png").write_bytes(encode(size, index)[1])
    return folder


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Returns the pattern of records of the same images, without labels."""
    folder = tmp_path_factory.mktemp("records")
    examples = [
        record_features.encode_example(
            name=f"{index}.png",
            image=encode(size, index)[1],
            image_format="png",
            size=size,
        )
        for index, size in enumerate(SIZES)
    ]
    record_writer.write_shards(examples, len(SIZES), str(folder), "test", 2)
    return folder / "test-*"


def make_data(source, options=OPTIONS, batch_size=4, start_step=0, **named):
    return unlabeled.make_unlabeled_dataset(
        unlabeled_files.find_unlabeled(str(source)),
        options,
        COLORS,
        unlabeled.Reading(seed=3, start_step=start_step, view_draws=9),
        batch_size=batch_size,
        **named,
    )


def take(data, count):
    return list(data.take(count).as_numpy_iterator())


def assert_equal(batches, others, skipped=()):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        assert batch.keys() == other.keys()
        for name in batch:
            if name not in skipped:
                np.testing.assert_array_equal(batch[name], other[name], name)


def get_indexes(batches):
    names = [name.decode() for batch in batches for name in batch["name"]]
    return [int(name.rpartition("/")[2][0]) for name in names]


def test_batches_have_static_shapes(images):
    spec = make_data(images).element_spec
    assert spec["image"].shape == spec["recolored"].shape == (4, 33, 33, 3)
    assert spec["valid"].shape == (4, 33, 33)
    assert spec["draws"].shape == (4, 9)
    assert spec["seed"].shape == (4, 2)


def test_files_and_records_are_read_alike(images, records):
    batches = take(make_data(images), 7)
    assert_equal(batches, take(make_data(records), 7), ["name"])
    indexes = get_indexes(batches)
    assert indexes == get_indexes(take(make_data(records), 7))
    # Each image once in each epoch.
    for start in range(0, 28, 7):
        assert sorted(indexes[start : start + 7]) == list(range(7))


def test_any_step_can_be_the_first(records):
    batches = take(make_data(records), 9)
    assert_equal(batches[5:], take(make_data(records, start_step=5), 4))


def test_replicas_share_the_batches(records):
    batches = take(make_data(records), 5)
    parts = [
        take(
            make_data(
                records,
                input_context=tf.distribute.InputContext(2, pipeline, 2),
            ),
            5,
        )
        for pipeline in range(2)
    ]
    together = [
        {name: np.concatenate([a[name], b[name]]) for name in a}
        for a, b in zip(*parts, strict=True)
    ]
    assert_equal(batches, together)


def test_the_canvas_is_the_image_as_it_is(records):
    batches = take(make_data(records, batch_size=7), 1)
    for place, index in enumerate(get_indexes(batches)):
        size = SIZES[index]
        valid = batches[0]["valid"][place]
        rows, columns = np.nonzero(valid)
        assert valid.sum() == min(size[0], 33) * min(size[1], 33)
        canvas = batches[0]["image"][place]
        np.testing.assert_array_equal(canvas[~valid], 127.5)
        if size[0] > 33 or size[1] > 33:
            continue
        shown = canvas[rows.min() : rows.max() + 1]
        shown = shown[:, columns.min() : columns.max() + 1]
        np.testing.assert_array_equal(shown, encode(size, index)[0])


def test_other_colors_leave_the_padding(records):
    (batch,) = take(make_data(records, batch_size=14), 1)
    valid = batch["valid"]
    np.testing.assert_array_equal(batch["recolored"][~valid], 127.5)
    is_changed = np.any(batch["recolored"] != batch["image"], axis=(1, 2, 3))
    assert is_changed.all()
    assert 0 <= batch["recolored"].min() <= batch["recolored"].max() <= 255


def find_error(data):
    with pytest.raises((tf.errors.OpError, UnicodeDecodeError)) as info:
        take(data, 2)
    return str(graph_errors.as_data_error(info.value))


def test_a_damaged_file_is_one_sentence(tmp_path):
    (tmp_path / "good.png").write_bytes(encode((9, 9))[1])
    (tmp_path / "cut.png").write_bytes(encode((40, 40))[1][:900])
    text = find_error(make_data(tmp_path))
    assert "cut.png is damaged or incomplete" in text
    assert "semi_supervised.unlabeled_pattern" in text
    assert "\n" not in text


def test_names_of_files_may_have_any_bytes(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.png")
    path.write_bytes(encode((9, 9))[1])
    (batch,) = take(make_data(tmp_path, batch_size=1), 1)
    assert batch["name"][0] == os.fsencode(path)
    path.write_bytes(b"no image")
    assert "udcff.png is not an image" in find_error(make_data(tmp_path))


def test_a_damaged_image_in_records_is_one_sentence(tmp_path):
    example = record_features.encode_example(
        name="cut.png",
        image=encode((40, 40))[1][:900],
        image_format="png",
        size=(40, 40),
    )
    record_writer.write_shards([example], 1, str(tmp_path), "test", 1)
    text = find_error(make_data(tmp_path / "test-*"))
    assert text.startswith("Image 'cut.png' of semi_supervised.")
    assert "damaged" in text


def test_turned_photos_are_upright(tmp_path):
    pixels, _ = encode((9, 13))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    (batch,) = take(make_data(tmp_path, batch_size=1), 1)
    assert batch["valid"].sum() == 9 * 13
    assert batch["valid"][0].any(axis=1).sum() == 13
