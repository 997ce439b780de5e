# SPDX-License-Identifier: Apache-2.0
"""ADE20K: label images and panoptic JSON give the same labels."""

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.labels import descriptor as descriptor_lib

_DATA = descriptor_lib.load("ade20k_panoptic")


@pytest.fixture
def ade(miniatures, tmp_path):
    """Returns the folder of a miniature, and its labels."""
    root = tmp_path / "ADEChallengeData2016"
    return root, miniatures.write_ade20k(root, "val", 4)


def test_there_are_150_classes_and_100_things():
    assert _DATA.num_classes == 151
    assert len(_DATA.thing_ids) == 100
    assert _DATA.ignore_label == 0
    assert _DATA.label_divisor == 1000
    assert _DATA.class_names[13] == "person"
    # Instance classes are the things in their order.
    assert [_DATA.thing_ids[k - 1] for k in (1, 4, 9, 57, 100)] == [
        8, 13, 21, 89, 150,
    ]  # fmt: skip


def test_instances_lie_over_stuff(
    ade, miniatures, prepare, read_records, decode, tmp_path
):
    root, labels = ade
    prepare("ade20k", root, tmp_path / "out", splits=["val"])
    found = read_records(tmp_path / "out", "val")
    assert [*found] == sorted(labels)
    for name, features in found.items():
        classes, numbers = labels[name]
        expected = np.zeros(classes.shape, int)
        is_stuff = ~np.isin(classes, _DATA.thing_ids)
        expected[is_stuff] = classes[is_stuff] * 1000
        counts = {}
        for value in np.unique(numbers[numbers > 0]).tolist():
            kind = miniatures.ADE_INSTANCES[value - 1][1]
            counts[kind] = counts.get(kind, 0) + 1
            expected[numbers == value] = kind * 1000 + counts[kind]
        np.testing.assert_array_equal(decode(features), expected)
        assert (expected[~is_stuff & (numbers == 0)] == 0).all()


def test_the_panoptic_json_gives_the_same_records(
    ade, miniatures, prepare, read_records, tmp_path
):
    root, labels = ade
    prepare("ade20k", root.parent, tmp_path / "raw", splits=["val"])
    miniatures.write_ade20k_json(root, "val", labels, _DATA.thing_ids)
    text = prepare("ade20k", root, tmp_path / "out", splits=["val"])
    assert "labels: coco-panoptic" in text
    raw = read_records(tmp_path / "raw", "val")
    assert read_records(tmp_path / "out", "val") == raw


def test_what_cannot_be_used_is_named(ade, miniatures, prepare, tmp_path):
    root, _ = ade
    out = tmp_path / "out"

    def check(message):
        with pytest.raises(errors.DataError) as caught:
            prepare("ade20k", root, out, splits=["val"])
        assert message in str(caught.value)

    path = root / "annotations_instance/validation/ADE_val_00000001.png"
    good = path.read_bytes()
    coded = np.zeros((*miniatures.SIZE, 3), np.uint8)
    coded[0, 0] = (101, 1, 0)
    miniatures.save(path, coded)
    check("has the number 101")
    coded[0, 0] = (4, 1, 0)
    coded[0, 1] = (9, 1, 0)
    miniatures.save(path, coded)
    check("instance 1 of")
    check("'person' in some pixels and 'car' in others")
    miniatures.save(path, coded[..., 0])
    check("must be RGB: R the class of the instance")
    miniatures.save(path, coded[:5])
    check("has 16 x 32 pixels (height x width)")
    path.unlink()
    check("1 of 4 images have no label: 'ADE_val_00000001'")
    path.write_bytes(good)
    path = root / "annotations/validation/ADE_val_00000001.png"
    miniatures.save(path, np.full(miniatures.SIZE, 151, np.uint8))
    check("has numbers up to 151, but those of the data set are 0 to 150")
