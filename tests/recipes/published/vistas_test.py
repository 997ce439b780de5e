# SPDX-License-Identifier: Apache-2.0
"""Mapillary Vistas: both versions, both arrangements of folders."""

import json

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.labels import descriptor as descriptor_lib

_OLD = descriptor_lib.load("mapillary_vistas")
# Void (65), birds with instances from 0, road, cars, sky, ego vehicle.
_NUMBERS_OLD = (
    65 * 256, 0, 1, 5, 13 * 256, 55 * 256, 55 * 256 + 254, 27 * 256, 64 * 256,
)  # fmt: skip
_NUMBERS_NEW = (5 * 256, 0, 1, 256, 2 * 256 + 3, 3 * 256 + 1, 4 * 256)


def list_segments(numbers, data):
    classes = data.class_of_category()
    return [
        (value, classes.get(value // 256 + 1), False)
        for value in np.unique(numbers).tolist()
    ]


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("has_json", [False, True])
def test_version_1_2_is_read_from_either_folder(
    miniatures, prepare, read_records, decode, number, tmp_path, old, has_json
):
    root, out = tmp_path / "root", tmp_path / "out"
    labels = miniatures.write_vistas(
        root, "val", 3, "1.2", _NUMBERS_OLD, old=old
    )
    things = [_OLD.category_ids[i] for i in _OLD.thing_ids]
    if has_json:
        miniatures.write_vistas_json(
            root, "val", "1.2", labels, things, old=old
        )
    text = prepare("vistas-1.2", root, out, splits=["val"])
    form = "coco-panoptic" if has_json else "label-images"
    assert f"labels: {form}" in text
    found = read_records(out, "val")
    assert len(found) == 3
    for name, features in found.items():
        expected = number(_OLD, labels[name], list_segments(labels[name], _OLD))
        np.testing.assert_array_equal(decode(features), expected)


@pytest.mark.parametrize("has_json", [False, True])
def test_version_2_0_has_the_classes_of_its_own_list(
    miniatures, prepare, read_records, decode, number, tmp_path, has_json
):
    root, out = tmp_path / "root", tmp_path / "out"
    labels = miniatures.write_vistas(root, "train", 2, "2.0", _NUMBERS_NEW)
    if has_json:
        miniatures.write_vistas_json(root, "train", "2.0", labels, (1, 3))
    text = prepare("vistas-2.0", root, out, splits=["train"])
    assert f'dataset: "{out}/dataset.textproto"' in text
    data = descriptor_lib.load(str(out / "dataset.textproto"))
    assert data.class_names == ("Bird", "Road", "Person", "Sky")
    assert data.category_ids == (1, 2, 3, 5)
    assert data.thing_ids == (0, 2)
    assert data.colors[1] == (128, 64, 128)
    assert data.label_divisor == 1000
    for name, features in read_records(out, "train").items():
        expected = number(data, labels[name], list_segments(labels[name], data))
        np.testing.assert_array_equal(decode(features), expected)
    assert "complete already" in prepare(
        "vistas-2.0", root, out, splits=["train"]
    )


def test_both_versions_of_one_archive_have_their_own_labels(
    miniatures, prepare, tmp_path
):
    root = tmp_path / "root"
    miniatures.write_vistas(root, "val", 2, "1.2", _NUMBERS_OLD)
    with pytest.raises(errors.DataError, match=r"config_v2.0.json"):
        prepare("vistas-2.0", root, splits=["val"])
    miniatures.write_vistas(root, "val", 2, "2.0", _NUMBERS_NEW)
    for version in ("1.2", "2.0"):
        text = prepare(f"vistas-{version}", root, splits=["val"])
        assert "val: 2 images" in text
    assert "no labels" in prepare_test(miniatures, prepare, root)


def prepare_test(miniatures, prepare, root):
    miniatures.save_jpeg(root / "testing" / "images" / "a.jpg", 1)
    return prepare("vistas-1.2", root, splits=["test"])


def test_what_cannot_be_used_is_named(miniatures, prepare, tmp_path):
    root = tmp_path / "root"
    miniatures.write_vistas(root, "val", 2, "2.0", [6 * 256, 256])
    with pytest.raises(errors.DataError, match=r"the number 1536.*labels 0 to"):
        prepare("vistas-2.0", root, tmp_path / "out", splits=["val"])
    path = root / "config_v2.0.json"
    for content in ({}, {"labels": [{}]}, [1]):
        path.write_text(json.dumps(content))
        with pytest.raises(errors.DataError, match="has no list `labels`"):
            prepare("vistas-2.0", root, splits=["val"])
    path.unlink()
    with pytest.raises(errors.DataError, match="config of Mapillary Vistas"):
        prepare("vistas-2.0", root, splits=["val"])
