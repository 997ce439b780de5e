# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.labels import coco_format
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.results.panoptic_result import PanopticResult


@pytest.fixture
def descriptor():
    return descriptor_lib.DatasetDescriptor(
        name="street",
        num_classes=3,
        thing_ids=(1, 2),
        stuff_ids=(0,),
        ignore_label=255,
        label_divisor=100,
        class_names=("road", "car", "dog"),
        colors=((10, 20, 30), (40, 50, 60), (70, 80, 90)),
        category_ids=(21, 3, 18),
    )


_PANOPTIC = np.array(
    [[0, 0, 101, 101], [0, 102, 101, 25500], [0, 102, 201, 25500]], np.int32
)


@pytest.fixture
def result(descriptor):
    return PanopticResult.from_prediction(
        _PANOPTIC,
        descriptor,
        # In the order of the table; 103 has no pixel left, 7 is no row.
        segment_ids=[102, 103, 0, 201, 101, 7],
        segment_scores=np.float32([0.5, 0.75, 1.0, 0.25, 0.125, 9.0]),
        is_valid=[True, True, True, True, True, False],
    )


def test_segments_are_numbered_in_the_order_of_the_table(result):
    np.testing.assert_array_equal(
        result.segmentation, [[2, 2, 4, 4], [2, 1, 4, 0], [2, 1, 3, 0]]
    )
    assert result.segmentation.dtype == np.int32
    assert [i["id"] for i in result.segments_info] == [1, 2, 3, 4]
    assert [i["score"] for i in result.segments_info] == [0.5, 1, 0.25, 0.125]
    assert (result.height, result.width) == (3, 4)


def test_a_segment_is_described_for_all_its_readers(result):
    assert result.segments_info[0] == {
        "id": 1,
        "label_id": 1,
        "category_id": 3,
        "category_name": "car",
        "score": 0.5,
        "isthing": True,
        "was_fused": False,
        "iscrowd": 0,
        "area": 2,
        "bbox": [1, 1, 1, 2],
    }
    json.dumps(result.segments_info)


def test_areas_are_those_of_the_masks(result):
    for info in result.segments_info:
        assert info["area"] == result.mask(info["id"]).sum()
    assert sum(i["area"] for i in result.segments_info) == 10


def test_semantic_and_panoptic_give_the_map_back(result):
    np.testing.assert_array_equal(
        result.semantic(), np.where(_PANOPTIC == 25500, 255, _PANOPTIC // 100)
    )
    # Things of a class are numbered in the order of the table.
    expected = _PANOPTIC.copy()
    expected[_PANOPTIC == 102], expected[_PANOPTIC == 101] = 101, 102
    np.testing.assert_array_equal(result.panoptic(), expected)


def test_a_label_gives_itself_back_with_its_crowd(descriptor):
    label = np.array([[100, 101, 25500], [0, 0, 202]])
    result = PanopticResult.from_label(label, descriptor)
    crowd = {i["label_id"]: i["iscrowd"] for i in result.segments_info[:2]}
    assert crowd == {0: 0, 1: 1}
    assert [i["iscrowd"] for i in result.segments_info] == [0, 1, 0, 0]
    assert all(i["score"] == 1.0 for i in result.segments_info)
    label[label == 202] = 201
    np.testing.assert_array_equal(result.panoptic(), label)


def test_an_image_without_segments_is_a_valid_result(descriptor):
    void = np.full((2, 3), 25500)
    result = PanopticResult.from_prediction(
        void, descriptor, segment_ids=[], segment_scores=[]
    )
    assert result.segments_info == []
    assert not result.segmentation.any()
    np.testing.assert_array_equal(result.semantic(), np.full((2, 3), 255))
    np.testing.assert_array_equal(result.panoptic(), void)
    assert result.to_transformers()["segments_info"] == []
    rgb_hw3, annotation = result.to_coco("a.png", 1)
    assert not rgb_hw3.any()
    assert annotation["segments_info"] == []


def test_hugging_face_and_supervision_find_their_keys(result):
    given = result.to_transformers()
    assert [set(info) for info in given["segments_info"]] == (
        [{"id", "label_id", "was_fused", "score"}] * 4
    )
    # The calls that supervision makes on what it takes for a tensor.
    segmentation = given["segmentation"].cpu().detach().numpy()
    assert type(segmentation) is np.ndarray
    np.testing.assert_array_equal(segmentation, result.segmentation)


def test_coco_files_give_the_result_back(result, descriptor):
    rgb_hw3, annotation = result.to_coco("street.png", 42)
    assert annotation["image_id"] == 42
    assert annotation["file_name"] == "street.png"
    read = PanopticResult.from_coco(
        coco_format.decode_ids(rgb_hw3), annotation, descriptor
    )
    np.testing.assert_array_equal(read.segmentation, result.segmentation)
    assert read.segments_info == result.segments_info


def test_coco_ids_of_three_bytes_are_numbered_anew(descriptor):
    ids = np.array([[2**24 - 1, 70_000, 5]])
    annotation = {
        "image_id": 1,
        "segments_info": [
            {"id": 70_000, "category_id": 3, "iscrowd": 1},
            {"id": 2**24 - 1, "category_id": 21},
        ],
    }
    result = PanopticResult.from_coco(ids, annotation, descriptor)
    np.testing.assert_array_equal(result.segmentation, [[2, 1, 0]])
    assert [i["iscrowd"] for i in result.segments_info] == [1, 0]


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([{"id": 9, "category_id": 3}], "Image 5: segment 9"),
        ([{"id": 1, "category_id": 4}], "category 4"),
        (
            [{"id": 1, "category_id": 3}] * 2,
            "segment 1 is listed more than once",
        ),
    ],
)
def test_coco_files_that_disagree_are_refused(descriptor, segments, message):
    annotation = {"image_id": 5, "segments_info": segments}
    with pytest.raises(errors.DataError, match=message):
        PanopticResult.from_coco(np.ones((2, 2), int), annotation, descriptor)


def test_a_map_with_a_segment_outside_of_the_table_is_refused(descriptor):
    with pytest.raises(errors.DataError, match=r"4 segments .* example 0"):
        PanopticResult.from_prediction(
            _PANOPTIC, descriptor, segment_ids=[5], segment_scores=[1.0]
        )


@pytest.mark.parametrize(
    ("panoptic", "message"),
    [
        (np.full((2, 2), 300), "300, class 3"),
        (np.full((2, 2), -1), "class -1"),
        (np.zeros((1, 2, 2), int), r"\(1, 2, 2\)"),
        (np.zeros((2, 2)), "float64"),
    ],
)
def test_maps_of_other_kinds_are_refused(descriptor, panoptic, message):
    with pytest.raises(errors.DataError, match=message):
        PanopticResult.from_label(panoptic, descriptor)


def test_more_instances_than_the_divisor_can_number_are_refused(descriptor):
    result = PanopticResult.from_label(
        np.arange(100, 200).reshape(10, 10), descriptor
    )
    fused = [dict(i, iscrowd=0) for i in result.segments_info]
    crowded = PanopticResult(result.segmentation, fused, 255, 100)
    with pytest.raises(errors.DataError, match="Class 1 has more than 99"):
        crowded.panoptic()
