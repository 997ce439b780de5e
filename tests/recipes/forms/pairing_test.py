# SPDX-License-Identifier: Apache-2.0
"""Which label belongs to which image, by the names of folders and files."""

import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.recipes import forms
from deeplab2_like.recipes.forms import pairing
from deeplab2_like.recipes.forms.tree import Tree


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("images/a.jpg", "image"),
        ("a.jpg", "image"),
        ("Labels/train/a.png", "label"),
        ("a_mask.png", "label"),
        ("images/a-seg.png", "label"),
        ("gtFine/train/aachen/x_gtFine_labelIds.png", "label"),
        ("gtFine/train/aachen/x_gtFine_instanceIds.png", "instance"),
        ("leftImg8bit/train/aachen/x_leftImg8bit.png", "image"),
        ("masks/inst/a.png", "instance"),
        ("SegmentationObject/a.png", "instance"),
        ("mask_of_a.png", "image"),
    ],
)
def test_names_say_what_a_file_is(path, role):
    assert pairing.find_role(path) == role


def pair(folder, *names, **reading):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2)).save(folder / name)
    request = forms.Request(folder, reading=forms.Reading(**reading))
    return {
        (one.split, one.name): {
            role: path.relative_to(folder).as_posix()
            for role, path in one.paths.items()
        }
        for one in pairing.pair(Tree.look(folder), request)
    }


def test_folders_of_kinds_and_splits_in_any_order(tmp_path):
    found = pair(
        tmp_path,
        "images/train/north/a.jpg",
        "train/labels/north/a.png",
        "instances/training/north/a.png",
        "images/val/north/a.jpg",
        "labels/val/north/a_mask.png",
    )
    assert found == {
        ("train", "north/a"): {
            "image": "images/train/north/a.jpg",
            "label": "train/labels/north/a.png",
            "instance": "instances/training/north/a.png",
        },
        ("val", "north/a"): {
            "image": "images/val/north/a.jpg",
            "label": "labels/val/north/a_mask.png",
        },
    }


def test_files_of_cityscapes(tmp_path):
    found = pair(
        tmp_path,
        "leftImg8bit/val/bonn/bonn_1_leftImg8bit.png",
        "gtFine/val/bonn/bonn_1_gtFine_labelIds.png",
        "gtFine/val/bonn/bonn_1_gtFine_instanceIds.png",
    )
    assert {*found["val", "bonn/bonn_1"]} == {"image", "label", "instance"}


def test_folders_that_are_named_have_that_role(tmp_path):
    names = ["x/a.jpg", "y/a.png", "labels/a.png"]
    found = pair(tmp_path, *names, label_dir=tmp_path / "y")
    assert found["", "a"]["label"] == "y/a.png"


def test_two_labels_of_an_image_are_asked_about(tmp_path):
    with pytest.raises(errors.DataError, match=r"the label of 'a'.*label_dir"):
        pair(tmp_path, "images/a.jpg", "labels/a.png", "masks/a.png")
    assert pair(tmp_path / "b", "images/a.jpg", "photos/a.jpg")
