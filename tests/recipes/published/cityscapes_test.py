# SPDX-License-Identifier: Apache-2.0
"""Cityscapes is read as its own scripts read it."""

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.labels import label_map

_DATA = descriptor_lib.load("cityscapes_panoptic")
_CLASSES = [
    (_DATA.category_ids[i], _DATA.class_names[i], _DATA.is_thing(i))
    for i in range(_DATA.num_classes)
]


def compute_expected(ids, treat_crowd_as_ignore=False):
    """Computes the label by the rules of createPanopticImgs and deeplab2."""
    expected = np.full(ids.shape, 255 * 1000, np.int32)
    counts = {}
    for number in np.unique(ids).tolist():
        category = number if number < 1000 else number // 1000
        if category not in _DATA.category_ids:
            continue
        index = _DATA.category_ids.index(category)
        instance = 0
        if index in _DATA.thing_ids and number < 1000:
            if treat_crowd_as_ignore:
                continue
        elif index in _DATA.thing_ids:
            counts[index] = instance = counts.get(index, 0) + 1
        expected[ids == number] = index * 1000 + instance
    return expected


@pytest.fixture
def city(miniatures, tmp_path):
    """Returns the folder of a miniature, and its labels by split."""
    root = tmp_path / "cityscapes"
    train = miniatures.write_cityscapes(root, {"bochum": 2, "aachen": 3})
    val = miniatures.write_cityscapes(root, {"frankfurt": 2}, "val", seed=50)
    return root, {"train": train, "val": val}


def test_the_label_ids_become_panoptic_ids(
    city, prepare, read_records, tmp_path, decode
):
    root, labels = city
    text = prepare("cityscapes", root, tmp_path / "out")
    for split, ids in labels.items():
        found = read_records(tmp_path / "out", split)
        assert [*found] == sorted(ids)
        for name, features in found.items():
            np.testing.assert_array_equal(
                decode(features), compute_expected(ids[name])
            )
            assert features["image/format"] == b"png"
            assert features["image/channels"] == 3
            place = root / "leftImg8bit" / split / name.split("_")[0]
            photo = place / f"{name}_leftImg8bit.png"
            assert features["image/encoded"] == photo.read_bytes()
    assert "Split     train: 5 images, labels: label-images" in text
    assert "has 5 images here, 2975 as published" in text
    assert 'dataset: "cityscapes_panoptic"' in text


def test_groups_become_void_on_request(
    city, prepare, read_records, tmp_path, decode
):
    root, labels = city
    out = tmp_path / "out"
    prepare("cityscapes", root, out, splits=["val"], treat_crowd_as_ignore=True)
    for name, features in read_records(out, "val").items():
        np.testing.assert_array_equal(
            decode(features), compute_expected(labels["val"][name], True)
        )


@pytest.mark.parametrize("by_index", [False, True])
def test_the_panoptic_json_gives_the_same_records(
    city, miniatures, prepare, read_records, tmp_path, by_index
):
    root, labels = city
    raw, out = tmp_path / "raw", tmp_path / "out"
    prepare("cityscapes", root, raw, splits=["val"])
    miniatures.write_cityscapes_json(
        root, labels["val"], "val", _CLASSES, by_index=by_index
    )
    text = prepare(
        "cityscapes", root, out, splits=["val"], form="coco-panoptic"
    )
    assert "labels: coco-panoptic" in text
    assert read_records(out, "val") == read_records(raw, "val")
    for path in (root / "gtFine" / "val").rglob("*_instanceIds.png"):
        path.unlink()
    assert "labels: coco-panoptic" in prepare(
        "cityscapes", root, splits=["val"]
    )


def test_splits_without_labels_have_none(
    city, miniatures, prepare, read_records, tmp_path
):
    root, _ = city
    miniatures.write_cityscapes(root, {"berlin": 2}, "test")
    moved = root / "leftImg8bit_trainextra"
    miniatures.write_cityscapes(moved, {"erfurt": 1}, "train_extra", kind="")
    out = tmp_path / "out"
    text = prepare("cityscapes", root, out, splits=["test", "train_extra"])
    assert "test: 2 images, no labels" in text
    for split, count in (("test", 2), ("train_extra", 1)):
        found = read_records(out, split)
        assert len(found) == count
        for features in found.values():
            assert "image/segmentation/class/encoded" not in features


def test_coarse_labels_are_read(
    miniatures, prepare, read_records, tmp_path, decode
):
    root, out = tmp_path / "root", tmp_path / "out"
    for split in ("train", "train_extra", "val"):
        labels = miniatures.write_cityscapes(
            root, {"ulm": 1}, split, kind="gtCoarse"
        )
        text = prepare("cityscapes-coarse", root, out, splits=[split])
        assert "labels: label-images" in text
        for name, features in read_records(out, split).items():
            np.testing.assert_array_equal(
                decode(features), compute_expected(labels[name])
            )


def spoil(kind, label, photo, miniatures):
    ids = np.full(miniatures.SIZE, 7)
    if kind == "color":
        miniatures.save(label, np.zeros((*miniatures.SIZE, 3), np.uint8))
    elif kind == "size":
        miniatures.save(label, np.full((4, 8), 7, np.uint8))
    elif kind == "unknown":
        ids[0, 0] = 35001
        miniatures.save(label, ids.astype(np.uint16))
    elif kind == "unknown class":
        ids[0, 0] = 77
        miniatures.save(label, ids.astype(np.uint8))
    elif kind == "cut":
        label.write_bytes(label.read_bytes()[:-40])
    elif kind == "empty":
        label.write_bytes(b"")
    elif kind == "photo":
        photo.write_bytes(photo.read_bytes()[:200])
    elif kind == "no photo":
        photo.write_bytes(b"")
    elif kind == "no label":
        label.unlink()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("color", "has colors, but must have numbers"),
        ("size", "the image 16x32, the label 4x8"),
        ("unknown", "has the number 35001, which the data set does not have"),
        ("unknown class", "the number 77,"),
        ("cut", "cannot be read as a picture"),
        ("empty", "cannot be read as a picture (0 bytes)"),
        ("photo", "is damaged or incomplete"),
        ("no photo", "is not an image, or of an unknown kind (no bytes)"),
        ("no label", "1 of 2 images have no label"),
    ],
)
def test_what_cannot_be_used_is_named(
    city, miniatures, prepare, tmp_path, kind, message
):
    root, _ = city
    name = "frankfurt_000001_000019"
    spoil(
        kind,
        root / f"gtFine/val/frankfurt/{name}_gtFine_instanceIds.png",
        root / f"leftImg8bit/val/frankfurt/{name}_leftImg8bit.png",
        miniatures,
    )
    with pytest.raises(errors.DataError, match=name) as caught:
        prepare("cityscapes", root, tmp_path / "out", splits=["val"])
    assert message in str(caught.value)
    assert not [*(tmp_path / "out").glob("*.tfrecord")]


def test_labels_without_an_image_are_left_out(city, prepare, tmp_path):
    root, _ = city
    photo = "leftImg8bit/val/frankfurt/frankfurt_000001_000019_leftImg8bit.png"
    (root / photo).unlink()
    text = prepare("cityscapes", root, tmp_path / "out", splits=["val"])
    assert "1 labels have no image and are left out" in text
    assert "val: 1 images" in text


def test_a_folder_that_is_not_there_is_named(city, prepare, tmp_path):
    root, _ = city
    with pytest.raises(errors.DataError, match="leftImg8bit/test"):
        prepare("cityscapes", root, splits=["test"])
    (root / "gtFine").rename(root / "gt")
    with pytest.raises(errors.DataError, match="no folder of the labels"):
        prepare("cityscapes", root)
    with pytest.raises(errors.DataError, match="is no folder"):
        prepare("cityscapes", tmp_path / "gone")
    with pytest.raises(errors.ConfigError, match="has train, val, test"):
        prepare("cityscapes", root, splits=["trainval"])
    with pytest.raises(errors.ConfigError, match="from=bitmasks"):
        prepare("cityscapes", root, form="bitmasks")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_any_depth_of_numbers_is_read(
    miniatures, prepare, read_records, tmp_path, dtype, decode
):
    root = tmp_path / "root"
    miniatures.write_cityscapes(root, {"ulm": 1}, "val")
    ids = np.full(miniatures.SIZE, 7, dtype)
    ids[3:] = 26
    name = "ulm_000000_000019"
    path = root / f"gtFine/val/ulm/{name}_gtFine_instanceIds.png"
    miniatures.save(path, ids)
    prepare("cityscapes", root, tmp_path / "out", splits=["val"])
    found = decode(read_records(tmp_path / "out", "val")[name])
    segments = label_map.compute_segments(found)
    assert segments.ids.tolist() == [0, 13000]


@pytest.mark.parametrize("size", [(1, 7), (5, 1), (1, 1)])
@pytest.mark.parametrize("number", [0, 7, 26, 26_000])
def test_labels_of_one_number_and_a_few_pixels_are_read(
    miniatures, prepare, read_records, decode, tmp_path, size, number
):
    root, name = tmp_path / "root", "ulm_000000_000019"
    photo = root / f"leftImg8bit/val/ulm/{name}_leftImg8bit.png"
    miniatures.save_photo(photo, 1, size)
    miniatures.save(
        root / f"gtFine/val/ulm/{name}_gtFine_instanceIds.png",
        np.full(size, number, np.uint16),
    )
    prepare("cityscapes", root, tmp_path / "out", splits=["val"])
    found = decode(read_records(tmp_path / "out", "val")[name])
    expected = compute_expected(np.full(size, number))
    np.testing.assert_array_equal(found, expected)


def test_more_objects_than_the_divisor_allows_are_named(
    miniatures, prepare, tmp_path
):
    root, name = tmp_path / "root", "ulm_000000_000019"
    size = 40, 30
    photo = root / f"leftImg8bit/val/ulm/{name}_leftImg8bit.png"
    miniatures.save_photo(photo, 1, size)
    # n of id * 1000 + n is below 1000, so at most 1000 cars.
    numbers = 26_000 + np.arange(1200).reshape(size) % 1000
    miniatures.save(
        root / f"gtFine/val/ulm/{name}_gtFine_instanceIds.png",
        numbers.astype(np.uint16),
    )
    with pytest.raises(errors.DataError, match="1000 instances of 'car', but"):
        prepare("cityscapes", root, tmp_path / "out", splits=["val"])
