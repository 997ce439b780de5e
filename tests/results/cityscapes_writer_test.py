# SPDX-License-Identifier: Apache-2.0
"""Files for Cityscapes' server; recipes/published compares its scripts."""

import json

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.labels import coco_format
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.results.cityscapes_writer import CityscapesWriter
from deeplab2_like.results.panoptic_result import PanopticResult

_DATA = descriptor_lib.load("cityscapes_panoptic")
_NAME = "berlin_000003_000019"


def make_result():
    panoptic = np.full((8, 12), 255_000)
    panoptic[2:] = 0
    panoptic[4:6, :5] = 13_001
    panoptic[4:6, 5:7] = 13_002
    panoptic[6:, 10:] = 18_001
    return panoptic, PanopticResult.from_prediction(
        panoptic,
        _DATA,
        segment_ids=[0, 13_001, 13_002, 18_001],
        segment_scores=[0.5, 0.875, 0.25, 0.1],
    )


@pytest.mark.parametrize(
    "image", [f"{_NAME}_leftImg8bit.png", f"berlin/{_NAME}.png", _NAME]
)
def test_an_image_gets_files_for_three_tasks(tmp_path, image):
    panoptic, result = make_result()
    with CityscapesWriter(tmp_path, _DATA, split="val") as writer:
        assert writer.add(result, image.removesuffix(".png")) == _NAME
    semantic = Image.open(tmp_path / f"semantic/{_NAME}_pred_labelIds.png")
    assert semantic.mode == "L"
    classes = np.select(
        [panoptic == 255_000, panoptic == 0, panoptic // 1000 == 13],
        [0, 7, 26],
        33,
    )
    np.testing.assert_array_equal(np.asarray(semantic), classes)
    lines = (tmp_path / f"instance/{_NAME}.txt").read_text().splitlines()
    assert lines == [
        f"masks/{_NAME}_0002.png 26 0.875",
        f"masks/{_NAME}_0003.png 26 0.25",
        f"masks/{_NAME}_0004.png 33 0.1",
    ]
    mask = np.asarray(Image.open(tmp_path / f"instance/masks/{_NAME}_0002.png"))
    np.testing.assert_array_equal(mask, 255 * (panoptic == 13_001))
    base = tmp_path / "panoptic" / "cityscapes_panoptic_val"
    content = json.loads(base.with_suffix(".json").read_text())
    (annotation,) = content["annotations"]
    assert annotation["image_id"] == _NAME
    ids = coco_format.load_segment_ids(base / annotation["file_name"])
    np.testing.assert_array_equal(ids, result.segmentation)
    categories = [one["category_id"] for one in annotation["segments_info"]]
    assert categories == [7, 26, 26, 33]


def test_an_image_without_objects_has_an_empty_list(tmp_path):
    result = PanopticResult.from_label(np.zeros((4, 6), int), _DATA)
    with CityscapesWriter(tmp_path, _DATA, split="test") as writer:
        writer.add(result, _NAME)
    assert (tmp_path / f"instance/{_NAME}.txt").read_text() == ""
    assert not [*(tmp_path / "instance/masks").iterdir()]


@pytest.mark.parametrize(
    "name", ["photo.jpg", "a_1_2.png", "a b_000000_000001"]
)
def test_other_names_are_refused(tmp_path, name):
    _, result = make_result()
    with (
        pytest.raises(errors.DataError, match="no name of Cityscapes"),
        CityscapesWriter(tmp_path, _DATA, split="val") as writer,
    ):
        writer.add(result, name)
    assert not [*tmp_path.rglob("*.json")]


def test_two_results_of_one_image_are_refused(tmp_path):
    _, result = make_result()
    with CityscapesWriter(tmp_path, _DATA, split="val") as writer:
        writer.add(result, _NAME)
        with pytest.raises(errors.DataError, match="already written"):
            writer.add(result, f"{_NAME}_leftImg8bit.png")


def test_ids_that_no_label_has_are_refused(tmp_path):
    data = descriptor_lib.make(["sky"], ["car"])
    CityscapesWriter(tmp_path / "a", data, split="val")
    categories = dict(category_ids=(7, 300))
    other = type(data)(**{**vars(data), **categories})
    with pytest.raises(errors.ConfigError, match="category id 300"):
        CityscapesWriter(tmp_path / "b", other, split="val")
