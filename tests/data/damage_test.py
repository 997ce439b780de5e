# SPDX-License-Identifier: Apache-2.0
"""Damaged images and labels in training: named, or left out and counted."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deeplab2_like.data import checks, damage, graph_errors, pipeline
from deeplab2_like.data.preprocessing import Preprocessing
from deeplab2_like.data.records import features as record_features
from deeplab2_like.data.records import writer as record_writer

_RULES = pipeline.LabelRules(
    num_classes=3, ignore_label=255, label_divisor=1000
)


def _make_record(index, cut=0):
    generator = np.random.default_rng(index)
    image = generator.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="JPEG")
    data = stream.getvalue()
    return record_features.encode_example(
        name=f"image_{index}",
        image=data[: len(data) - cut],
        image_format="jpeg",
        size=(20, 30),
        panoptic=np.full((20, 30), 1000 + index),
    )


def _write(folder, count=6, damaged=(2,)):
    data = [
        _make_record(index, 100 if index in damaged else 0)
        for index in range(count)
    ]
    record_writer.write_shards(data, count, str(folder), "train", 1)
    return str(folder / "train-*.tfrecord")


def _take(pattern, count, batch_size=3, **reading):
    data = pipeline.make_training_dataset(
        [pattern],
        _RULES,
        Preprocessing((33, 33)),
        lambda panoptic: {"panoptic": panoptic},
        pipeline.Reading(**reading),
        batch_size=batch_size,
    )
    return list(data.take(count).as_numpy_iterator())


def _get_names(batches):
    return [name.decode() for batch in batches for name in batch["name"]]


@pytest.mark.parametrize("mode", [{"deterministic": True, "seed": 0}, {}])
def test_a_jpeg_that_is_cut_off_is_named(tmp_path, mode):
    pattern = _write(tmp_path)
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        _take(pattern, 40, **mode)
    message = str(graph_errors.as_data_error(caught.value))
    assert message.startswith("Image 'image_2' is damaged or incomplete")


@pytest.mark.parametrize("mode", [{"deterministic": True, "seed": 0}, {}])
def test_damaged_images_are_left_out_and_counted(tmp_path, mode):
    pattern = _write(tmp_path, damaged=(2, 4))
    lines = []
    report = damage.DamageReport(lines.append)
    assert report.summary() == ""
    batches = _take(pattern, 40, on_damage="skip", damage=report, **mode)
    assert set(_get_names(batches)) == {f"image_{n}" for n in (0, 1, 3, 5)}
    for batch in batches:
        assert batch["image"].shape == (3, 33, 33, 3)
    (first,) = lines
    assert "is damaged and cannot be decoded: it is left out" in first
    assert "2 damaged image(s) were left out" in report.summary()
    assert "'image_2', 'image_4'" in report.summary()


@pytest.mark.slow
def test_deterministic_training_keeps_the_places_of_good_images(tmp_path):
    good, damaged = tmp_path / "good", tmp_path / "damaged"
    mode = {"deterministic": True, "seed": 0}
    names = _get_names(_take(_write(good, damaged=()), 6, **mode))
    report = damage.DamageReport(lambda _: None)
    options = mode | {"on_damage": "skip", "damage": report}
    pattern = _write(damaged)
    batches = _take(pattern, 6, **options)
    assert _get_names(batches) == [
        {"image_2": "image_3"}.get(name, name) for name in names
    ]
    restarted = _take(pattern, 3, start_step=3, **options)
    for batch, other in zip(batches[3:], restarted, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, batch, other)


@pytest.mark.parametrize("mode", [{"deterministic": True, "seed": 0}, {}])
def test_nothing_but_damage_is_an_error_and_no_endless_search(tmp_path, mode):
    pattern = _write(tmp_path, count=2, damaged=(0, 1))
    report = damage.DamageReport(lambda _: None)
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        _take(pattern, 1, on_damage="skip", damage=report, **mode)
    message = str(graph_errors.as_data_error(caught.value))
    assert "damaged images follow each other" in message


@pytest.mark.slow
def test_skipping_changes_nothing_where_nothing_is_damaged(tmp_path):
    pattern = _write(tmp_path, damaged=())
    mode = {"deterministic": True, "seed": 5}
    report = damage.DamageReport(lambda _: None)
    plain = _take(pattern, 3, **mode)
    tolerant = _take(pattern, 3, on_damage="skip", damage=report, **mode)
    for batch, other in zip(plain, tolerant, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, batch, other)
    assert report.summary() == ""


@pytest.mark.slow
def test_a_damaged_file_is_reported_too(tmp_path):
    pattern = _write(tmp_path, damaged=())
    path = tmp_path / "train-00000-of-00001.tfrecord"
    path.write_bytes(path.read_bytes()[:-50])
    lines = []
    report = damage.DamageReport(lines.append)
    batches = _take(pattern, 4, on_damage="skip", damage=report)
    assert "image_5" not in _get_names(batches)
    assert "5 good records and is then cut off" in lines[0]


def test_the_probe_before_training_may_allow_damage(tmp_path):
    pattern = _write(tmp_path, damaged=(0,))
    with pytest.raises(Exception, match="Image 'image_0' is damaged"):
        checks.check_first_record([pattern], _RULES)
    checks.check_first_record([pattern], _RULES, allows_damage=True)


def test_many_names_are_summarized():
    report = damage.DamageReport(lambda _: None)
    for index in range(8):
        report.add_image(f"image_{index}")
    assert report.summary().startswith("8 damaged image(s) were left out")
    assert "'image_4' and 3 more" in report.summary()
