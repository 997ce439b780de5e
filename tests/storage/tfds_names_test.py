# SPDX-License-Identifier: Apache-2.0
import os

import pytest

from deeplab2_like import errors
from deeplab2_like.storage import tfds_names
from deeplab2_like.storage.tfds_names import TfdsName


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "tfds:coco/2017_panoptic:train",
            TfdsName("coco", "2017_panoptic", split="train"),
        ),
        (
            "tfds:coco/2017_panoptic:1.1.0:validation@/data/a:b",
            TfdsName(
                "coco", "2017_panoptic", "1.1.0", "validation", "/data/a:b"
            ),
        ),
        ("tfds:cityscapes", TfdsName("cityscapes", "semantic_segmentation")),
        (
            "tfds:cityscapes/semantic_segmentation_extra:train_extra",
            TfdsName(
                "cityscapes", "semantic_segmentation_extra", "", "train_extra"
            ),
        ),
    ],
)
def test_a_name_has_config_version_split_and_folder(text, expected):
    assert tfds_names.is_name(text)
    assert tfds_names.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tfds:coco:train", "Read are tfds:coco/2017_panoptic, tfds:citys"),
        ("tfds:mnist:train", "has no labels that are read here"),
        ("tfds:cityscapes/stereo_disparity:train", "has no labels"),
        ("tfds:coco/2017_panoptic:train[:10%]", "Whole splits are read"),
        ("tfds:coco/2017_panoptic:train+validation", "are several patterns"),
        ("tfds:cityscapes:train:1.0.0", "is not of the form"),
        ("tfds:", "is not of the form"),
        ("tfds:coco/../2017_panoptic:train", "is not of the form"),
        ("tfds:cityscapes:train@", "ends with @"),
    ],
)
def test_what_is_no_name_is_one_sentence(text, message):
    with pytest.raises(errors.DataError) as caught:
        tfds_names.parse(text)
    assert message in str(caught.value)


def test_a_split_is_added_where_there_is_none():
    add = tfds_names.add_split
    assert add("tfds:cityscapes", "train") == "tfds:cityscapes:train"
    assert add("tfds:cityscapes@/d", "validation") == (
        "tfds:cityscapes:validation@/d"
    )
    for text in ("records/train-*", "tfds:cityscapes:test", "tfds:mnist"):
        assert add(text, "train") == text


def test_the_folder_is_that_of_tfds(monkeypatch):
    name = tfds_names.parse("tfds:cityscapes:train")
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    assert tfds_names.find_folder(name) == os.path.expanduser(
        "~/tensorflow_datasets"
    )
    monkeypatch.setenv("TFDS_DATA_DIR", "/data/tfds")
    assert tfds_names.find_folder(name) == "/data/tfds"
    name = tfds_names.parse("tfds:cityscapes:train@~/other")
    assert tfds_names.find_folder(name) == os.path.expanduser("~/other")
