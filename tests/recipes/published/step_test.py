# SPDX-License-Identifier: Apache-2.0
"""KITTI-STEP and MOTChallenge-STEP are read frame by frame."""

import numpy as np
import pytest

from deeplab2_like import errors

# (class, track): void, road, a group of persons, persons, cars, a rider.
_KITTI = ((255, 0), (0, 0), (11, 0), (11, 3), (11, 300), (13, 999), (12, 0))
_MOT = ((255, 0), (0, 0), (4, 0), (4, 7), (5, 0))


@pytest.mark.parametrize("kitti", [False, True])
def test_tracks_keep_their_numbers(
    miniatures, prepare, read_records, decode, tmp_path, kitti
):
    root, out = tmp_path / "root", tmp_path / "out"
    labels = {
        "train": {"0000": 2, "0001": 1},
        "val": {"0002": 1, "0018": 2},
    }
    for split, sequences in labels.items():
        labels[split] = miniatures.write_step(
            root, split, sequences, _KITTI, kitti=kitti
        )
    text = prepare("kitti-step", root, out)
    assert 'dataset: "kitti_step"' in text
    for split, expected in labels.items():
        found = read_records(out, split)
        assert [*found] == [f"{key}.png" for key in expected]
        for key, features in found.items():
            sequence, name = key.split("/")
            assert features["image/filename"].decode() == name
            assert features["video/sequence_id"].decode() == sequence
            assert features["video/frame_id"].decode() == name[:-4]
            np.testing.assert_array_equal(
                decode(features), expected[key.removesuffix(".png")]
            )


def test_crowds_become_void_on_request(
    miniatures, prepare, read_records, decode, tmp_path
):
    root, out = tmp_path / "root", tmp_path / "out"
    labels = miniatures.write_step(
        root, "val", {"0002": 2}, _MOT, ending=".jpg"
    )
    prepare(
        "motchallenge-step",
        root,
        out,
        splits=["val"],
        treat_crowd_as_ignore=True,
    )
    found = read_records(out, "val")
    assert [*found] == ["0002/000000.jpg", "0002/000001.jpg"]
    for key, features in found.items():
        expected = labels[key.removesuffix(".jpg")].copy()
        expected[expected == 4000] = 255000
        np.testing.assert_array_equal(decode(features), expected)
        assert features["image/format"] == b"jpeg"


def test_test_sequences_have_no_labels(
    miniatures, prepare, read_records, tmp_path
):
    root, out = tmp_path / "root", tmp_path / "out"
    path = root / "testing" / "image_02" / "0028" / "000007.png"
    miniatures.save_photo(path, 1)
    prepare("kitti-step", root, out, splits=["test"])
    (found,) = read_records(out, "test").items()
    assert found[0] == "0028/000007.png"
    assert "image/segmentation/class/encoded" not in found[1]


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (((20, 0), (0, 0)), "has the number 20"),
        (((13, 1000), (0, 0)), "has the track 1000, but label_divisor 1000"),
    ],
)
def test_other_numbers_are_named(miniatures, prepare, tmp_path, codes, message):
    root = tmp_path / "root"
    miniatures.write_step(root, "val", {"0002": 1}, codes)
    with pytest.raises(errors.DataError, match=r"0002/000000.png") as caught:
        prepare("kitti-step", root, tmp_path / "out", splits=["val"])
    assert message in str(caught.value)


def test_a_grey_label_is_named(miniatures, prepare, tmp_path):
    root = tmp_path / "root"
    miniatures.write_step(root, "val", {"0002": 1}, _KITTI)
    path = root / "panoptic_maps/val/0002/000000.png"
    miniatures.save(path, np.zeros(miniatures.SIZE, np.uint8))
    with pytest.raises(errors.DataError, match="must be RGB: R the class"):
        prepare("kitti-step", root, tmp_path / "out", splits=["val"])
