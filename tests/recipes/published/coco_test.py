# SPDX-License-Identifier: Apache-2.0
"""COCO 2017 panoptic is read as deeplab2 reads it."""

import io

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.labels import descriptor as descriptor_lib

_DATA = descriptor_lib.load("coco_panoptic")
_CLASSES = _DATA.class_of_category()


@pytest.fixture
def coco(miniatures, tmp_path):
    """Returns the folder of a miniature, and its labels."""
    root = tmp_path / "coco"
    return root, miniatures.write_coco(root, "val", 4, _DATA)


def test_segments_become_panoptic_ids(
    coco, prepare, read_records, decode, number, tmp_path
):
    root, labels = coco
    text = prepare("coco", root, tmp_path / "out", splits=["val"])
    found = read_records(tmp_path / "out", "val")
    assert [*found] == sorted(labels)
    for name, features in found.items():
        ids, segments = labels[name]
        expected = number(
            _DATA,
            ids,
            [
                (s["id"], _CLASSES[s["category_id"]], s["iscrowd"])
                for s in segments
            ],
        )
        np.testing.assert_array_equal(decode(features), expected)
        assert features["image/format"] == b"jpeg"
        photo = root / "val2017" / f"{name}.jpg"
        assert features["image/encoded"] == photo.read_bytes()
        image = Image.open(io.BytesIO(features["image/encoded"]))
        assert image.size == (expected.shape[1], expected.shape[0])
    assert 'dataset: "coco_panoptic"' in text
    assert "8 crowds" in text
    shards = sorted((tmp_path / "out").glob("*.tfrecord"))
    assert shards[-1].name == "val-00003-of-00004.tfrecord"


def test_crowds_become_void_on_request(
    coco, prepare, read_records, decode, tmp_path
):
    root, labels = coco
    out = tmp_path / "out"
    prepare("coco", root, out, splits=["val"], treat_crowd_as_ignore=True)
    for name, features in read_records(out, "val").items():
        ids, segments = labels[name]
        crowds = [s["id"] for s in segments if s["iscrowd"]]
        assert crowds
        assert (decode(features)[np.isin(ids, crowds)] == 0).all()


def test_pngs_beside_the_images_are_found(coco, prepare):
    root, _ = coco
    inner = root / "annotations" / "panoptic_val2017"
    inner.rename(root / "panoptic_val2017")
    assert "val: 4 images" in prepare("coco", root, splits=["val"])


def test_archives_in_the_archive_are_named(coco, prepare):
    root, _ = coco
    inner = root / "annotations" / "panoptic_val2017"
    inner.rename(root / "elsewhere")
    inner.with_suffix(".zip").write_bytes(b"PK")
    with pytest.raises(errors.DataError, match="are not unpacked: there is"):
        prepare("coco", root, splits=["val"])


def test_images_of_the_test_split_have_no_labels(
    miniatures, prepare, read_records, tmp_path
):
    root, out = tmp_path / "coco", tmp_path / "out"
    for number in range(3):
        path = root / "test2017" / f"{number:012d}.jpg"
        miniatures.save_jpeg(path, number)
    assert "test: 3 images, no labels" in prepare(
        "coco", root, out, splits=["test"]
    )
    found = read_records(out, "test")
    assert [*found] == [f"{number:012d}" for number in range(3)]
    assert "image/segmentation/class/encoded" not in found["000000000000"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("category", "has the category_id 26, which data set 'coco_panoptic'"),
        ("listed", "is in the JSON but not in the PNG"),
        ("jpeg", "is a JPEG file"),
        ("many", "has 256 instances of 'person', but label_divisor 256"),
        ("json", "The file is cut off"),
        ("void", ""),
    ],
)
def test_what_cannot_be_used_is_named(
    coco, miniatures, prepare, read_records, decode, tmp_path, kind, message
):
    root, labels = coco
    name = "000000000009"
    ids, segments = labels[name]
    if kind == "category":
        segments[0]["category_id"] = 26
    elif kind == "listed":
        segments.append(segments[0] | {"id": 5})
    elif kind == "many":
        ids[:] = 1 + np.arange(ids.size).reshape(ids.shape)
        segments[:] = miniatures.list_segments(ids, lambda _: (1, False))
    elif kind == "void":
        ids[:] = 0
        segments.clear()
    json_path = root / "annotations" / "panoptic_val2017.json"
    miniatures.write_panoptic(
        root / "annotations" / "panoptic_val2017",
        json_path,
        {f"{key}.png": label for key, label in labels.items()},
        [{"id": 1, "name": "person", "isthing": 1}],
        {f"{key}.png": (int(key), f"{key}.jpg") for key in labels},
    )
    if kind == "jpeg":
        png = root / "annotations" / "panoptic_val2017" / f"{name}.png"
        Image.new("RGB", (16, 16)).save(png, format="JPEG")
    if kind == "json":
        json_path.write_text(json_path.read_text()[:-20])
    out = tmp_path / "out"
    if kind == "void":
        prepare("coco", root, out, splits=["val"])
        found = read_records(out, "val")[name]
        assert (decode(found) == 0).all()
        return
    with pytest.raises(errors.DataError) as caught:
        prepare("coco", root, out, splits=["val"])
    assert message in str(caught.value)
