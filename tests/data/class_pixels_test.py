# SPDX-License-Identifier: Apache-2.0
"""Pixels of classes are counted once for a file of records."""

import dataclasses
import json
import os
import pathlib

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.data import class_pixels
from deeplab2_like.data.records import features as record_features
from deeplab2_like.data.records import files as record_files
from deeplab2_like.data.records import writer as record_writer
from deeplab2_like.labels import descriptor as descriptor_lib

_DATA = descriptor_lib.make(["ground", "sky"], ["tree", "car", "bus"])
_LABELS = [
    np.array([[0, 0, 0, 0], [2001, 2002, 0, 255_000]]),
    np.array([[0, 1000, 1000, 1000], [0, 0, 255_000, 255_000]]),
    np.array([[3001, 3001], [0, 0]]),
]
_EXPECTED = {
    "pixels": [10, 3, 2, 2, 0],
    "image_pixels": [17, 6, 7, 4, 0],
    "thing_image_pixels": 11,
    "num_images": 3,
}


def _write(folder, labels=_LABELS, *, semantic=False, overwrite=False):
    records = [
        record_features.encode_example(
            name=f"image_{index}",
            image=b"not decoded",
            image_format="png",
            size=label.shape,
            **{
                "semantic": label // 1000,
            }
            if semantic
            else {"panoptic": label},
        )
        for index, label in enumerate(labels)
    ]
    return record_writer.write_shards(
        records, len(records), str(folder), "train", 2, overwrite=overwrite
    )


def _as_dict(found):
    values = dataclasses.asdict(found)
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in values.items()
    }


@pytest.mark.parametrize("semantic", [False, True])
def test_the_counts_of_labels_equal_numpy(tmp_path, semantic):
    found = class_pixels.count_files(_write(tmp_path, semantic=semantic), _DATA)
    assert _as_dict(found) == _EXPECTED
    total = class_pixels.ClassPixels.empty(5)
    for label in _LABELS:
        pixels = class_pixels.count_label(label, _DATA)
        total.add_image(pixels, _DATA.thing_ids)
    assert _as_dict(total) == _EXPECTED
    assert found.list_absent(_DATA) == ["bus"]


def test_a_class_that_stands_for_void_does_not_count(tmp_path):
    void = dataclasses.replace(_DATA, ignore_label=1, stuff_ids=(0,))
    labels = [np.where(label == 255_000, 1000, label) for label in _LABELS]
    found = class_pixels.count_files(_write(tmp_path, labels), void)
    assert found.pixels.tolist() == [10, 0, 2, 2, 0]
    assert found.image_pixels[0] == 14
    assert found.list_absent(void) == ["bus"]


def test_files_are_counted_once(tmp_path, monkeypatch):
    paths = _write(tmp_path)
    assert class_pixels.load_counts(paths, _DATA) is None
    done = []
    class_pixels.count_files(paths, _DATA, report_file=done.append)
    assert done == [1, 2]

    def count(*_):
        raise AssertionError("counted again")

    monkeypatch.setattr(class_pixels, "_count_file", count)
    assert _as_dict(class_pixels.count_files(paths, _DATA)) == _EXPECTED
    assert _as_dict(class_pixels.load_counts(paths, _DATA)) == _EXPECTED
    assert class_pixels.load_counts([*paths, "other"], _DATA) is None


def test_labels_that_were_corrected_are_counted_again(tmp_path):
    """Raw labels have the same size whatever their values are."""
    paths = _write(tmp_path)
    class_pixels.count_files(paths, _DATA)
    before = [os.path.getsize(path) for path in paths]
    corrected = [np.where(label == 0, 4001, label) for label in _LABELS]
    _write(tmp_path, corrected, overwrite=True)
    assert [os.path.getsize(path) for path in paths] == before
    for path in paths:
        os.utime(path, (1, 1))  # Whatever the resolution of the clock is.
    assert class_pixels.load_counts(paths, _DATA) is None
    found = class_pixels.count_files(paths, _DATA)
    assert found.pixels.tolist() == [0, 3, 2, 2, 10]


def test_other_ids_are_counted_anew(tmp_path):
    paths = _write(tmp_path)
    class_pixels.count_files(paths, _DATA)
    other = dataclasses.replace(_DATA, thing_ids=(3, 4), stuff_ids=(0, 1, 2))
    assert class_pixels.load_counts(paths, other) is None
    assert class_pixels.count_files(paths, other).thing_image_pixels == 4


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "{",
        lambda text: text.replace('"pixels"', '"pixel"'),
        *(
            pytest.param(change, marks=pytest.mark.slow)
            for change in (
                lambda _: "[1]",
                lambda _: "\xff",
                lambda text: text.replace('"format": 1', '"format": 99'),
                lambda text: text.replace(
                    '"num_images": ', '"num_images": "x", "a": '
                ),
                lambda _: json.dumps({"format": 1, "files": [1]}),
            )
        ),
    ],
)
def test_a_damaged_file_of_counts_is_counted_again(tmp_path, change):
    paths = _write(tmp_path)
    class_pixels.count_files(paths, _DATA)
    file = tmp_path / class_pixels.CACHE_FILE
    file.write_text(change(file.read_text()), encoding="latin-1")
    assert class_pixels.load_counts(paths, _DATA) is None
    assert _as_dict(class_pixels.count_files(paths, _DATA)) == _EXPECTED
    assert _as_dict(class_pixels.load_counts(paths, _DATA)) == _EXPECTED


def test_a_folder_that_cannot_be_written_is_no_problem(tmp_path, monkeypatch):
    paths = _write(tmp_path)

    def write(*_):
        raise PermissionError

    monkeypatch.setattr(class_pixels.json_files, "write_json", write)
    assert _as_dict(class_pixels.count_files(paths, _DATA)) == _EXPECTED
    assert not (tmp_path / class_pixels.CACHE_FILE).exists()


def test_counts_of_files_that_are_gone_are_dropped(tmp_path):
    paths = _write(tmp_path)
    class_pixels.count_files(paths, _DATA)
    pathlib.Path(paths[0]).unlink()
    class_pixels.store_counts(
        {paths[1]: class_pixels.ClassPixels.empty(5)}, _DATA
    )
    content = json.loads((tmp_path / class_pixels.CACHE_FILE).read_text())
    assert list(content["files"]) == [os.path.basename(paths[1])]


def test_the_file_of_counts_is_no_record(tmp_path):
    paths = _write(tmp_path)
    class_pixels.count_files(paths, _DATA)
    assert record_files.find_files(f"{tmp_path}/train-*") == paths


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (np.full((2, 2), 7000), "image 'image_0' has the class ids"),
        (None, "image 'image_0' has no label"),
    ],
)
def test_a_label_that_cannot_be_used_is_one_sentence(tmp_path, label, message):
    record = record_features.encode_example(
        name="image_0",
        image=b"",
        image_format="png",
        size=(2, 2),
        panoptic=label,
    )
    paths = record_writer.write_shards([record], 1, str(tmp_path), "train", 1)
    with pytest.raises(errors.DataError, match=message):
        class_pixels.count_files(paths, _DATA)


def test_a_file_that_was_cut_off_is_one_sentence(tmp_path):
    (first, _) = _write(tmp_path)
    data = pathlib.Path(first).read_bytes()
    pathlib.Path(first).write_bytes(data[:-5])
    with pytest.raises(errors.DataError, match="cut off"):
        class_pixels.count_files([first], _DATA)
    found = class_pixels.count_files([first], _DATA, skips_damage=True)
    assert found.num_images == 1
