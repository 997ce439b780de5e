# SPDX-License-Identifier: Apache-2.0
"""Faults of the JSON file: what is changed, what the error says."""

import pytest

from deeplab2_like import errors
from deeplab2_like.data.coco import entries as coco_entries


def make_instances_json(content):
    content["annotations"] = [
        {"id": 1, "image_id": 3, "category_id": 7, "bbox": [0, 0, 1, 1]}
    ]


def repeat_image(content):
    content["images"].append(dict(content["images"][0]))


def repeat_annotation(content):
    content["annotations"].append(content["annotations"][0])


def drop_annotation(content):
    content["annotations"].pop()


def drop_image(content):
    content["images"].pop()


def drop_categories(content):
    del content["categories"]


def swap_kind(content):
    content["categories"][0]["isthing"] = 1


def rename_image(content):
    content["images"][0]["file_name"] = "gone.jpg"


def rename_label(content):
    content["annotations"][0]["file_name"] = "gone.png"


def drop_file_name(content):
    del content["annotations"][1]["file_name"]


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (make_instances_json, ["COCO instances (detection) JSON", "panoptic_"]),
        (repeat_image, ["1 images have the same id as another: 5"]),
        (repeat_annotation, ["more than one annotation: image_id 3"]),
        (drop_annotation, ["1 images have no annotation: 'two.png'"]),
        (drop_image, ["1 annotations are of images", "image_id 3"]),
        (drop_categories, ["has no list `categories`"]),
        (swap_kind, ["Category 2 ('ground') is a thing here but class 0"]),
        (rename_image, ["1 of 2 images do not exist", "images/gone.jpg"]),
        (rename_label, ["1 of 2 panoptic PNGs do not exist", "gone.png"]),
        (drop_file_name, ["annotations[1] lacks file_name."]),
    ],
)
def test_faults_of_the_json_are_named(coco, change, parts):
    change(coco.content)
    message = coco.get_error()
    for part in parts:
        assert part in message
    assert "panoptic.json" in message


def test_all_problems_of_the_json_come_at_once(coco):
    repeat_image(coco.content)
    swap_kind(coco.content)
    message = coco.get_error()
    assert "same id" in message
    assert "is a thing here" in message


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('{"images": [', "panoptic.json:1:13: not JSON"),
        ("[]", "no list `images` and no list `categories`"),
        ('{"images": [], "categories": []}', "`images` is empty"),
    ],
)
def test_a_file_of_another_kind_is_named(coco, text, part):
    path = coco.folder / "panoptic.json"
    path.write_text(text)
    with pytest.raises(errors.DataError, match=r"panoptic\.json") as caught:
        coco_entries.load_entries(str(path), "", "", coco.descriptor)
    assert part in str(caught.value)


def test_a_missing_json_is_named(coco):
    path = str(coco.folder / "gone.json")
    with pytest.raises(errors.DataError, match=r"gone\.json does not exist"):
        coco_entries.load_entries(path, "", "", coco.descriptor)
