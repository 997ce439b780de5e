# SPDX-License-Identifier: Apache-2.0
"""Lists, images and labels at addresses of TensorFlow's file systems."""

import json
import pathlib
import uuid

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.data.large import examples, lists
from deeplab2_like.rasters import opening
from deeplab2_like.storage import file_identity


@pytest.fixture
def bucket(write_large, tmp_path, monkeypatch):
    """An address with what `write_large` writes; returns it and the arrays."""
    _, images, labels = write_large(with_table=True)
    folder = f"ram://{uuid.uuid4().hex}/slides"
    tf.io.gfile.makedirs(folder)
    for path in tmp_path.iterdir():
        with tf.io.gfile.GFile(f"{folder}/{path.name}", "wb") as file:
            file.write(path.read_bytes())
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    return folder, images, labels


def test_windows_at_addresses_are_those_of_files(bucket, dataset):
    folder, images, labels = bucket
    entries = lists.load([f"{folder}/*.large.json"])
    assert [entry.image for entry in entries] == [
        f"{folder}/0.tif",
        f"{folder}/1.tif",
    ]
    for entry, image, label in zip(entries, images, labels, strict=True):
        example = examples.LargeExample(entry, dataset)
        found = example.read(3, 5, 90, 60)
        np.testing.assert_array_equal(found.image, image[3:90, 5:60])
        divisor = dataset.label_divisor
        np.testing.assert_array_equal(
            found.panoptic // divisor, label[3:90, 5:60] // divisor
        )
        assert not example.problems
        example.close()
    assert not list(pathlib.Path().iterdir())


def test_lists_on_a_disk_may_name_addresses(bucket, tmp_path):
    folder, images, _ = bucket
    path = tmp_path / "a.large.json"
    path.write_text(json.dumps({"images": [{"image": f"{folder}/0.tif"}]}))
    (entry,) = lists.load([str(path)])
    with opening.open_large(entry.image) as image:
        height, width = images[0].shape[:2]
        whole = image.read(0, 0, height, width)
        before = image.describe()
    np.testing.assert_array_equal(whole.image, images[0])
    assert before == file_identity.describe(entry.image)
    assert (before.path, before.size > 0) == (entry.image, True)
    with tf.io.gfile.GFile(entry.image, "ab") as file:
        file.write(b"more")
    assert file_identity.describe(entry.image) != before


def test_what_is_read_from_disks_only_is_one_sentence(bucket, tmp_path):
    folder, _, _ = bucket
    tf.io.gfile.makedirs(f"{folder}/a.zarr")
    for name, content in (
        ("a.jp2", b"content"),
        ("empty.tif", b""),
        ("cut.tif", (tmp_path / "0.tif").read_bytes()[:200]),
    ):
        with tf.io.gfile.GFile(f"{folder}/{name}", "wb") as file:
            file.write(content)
    for name, text in (
        ("a.zarr", "Copy it to one"),
        ("a.jp2", "Copy it to one"),
        ("empty.tif", "is empty"),
        ("cut.tif", "cut off or damaged"),
        ("none.tif", "does not exist"),
    ):
        with pytest.raises(errors.DataError, match=text) as caught:
            opening.open_large(f"{folder}/{name}")
        assert f"{folder}/{name}" in str(caught.value)


def test_lists_that_are_not_there_are_one_sentence(bucket):
    folder, _, _ = bucket
    for pattern in (f"{folder}/b*.large.json", f"{folder}x/a.large.json"):
        with pytest.raises(errors.DataError, match="matches no file"):
            lists.load([pattern])
    with pytest.raises(errors.DataError, match="cannot be looked up"):
        lists.load(["unknown://bucket/a.large.json"])
