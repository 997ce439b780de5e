# SPDX-License-Identifier: Apache-2.0
"""The numbers of an evaluation, from label maps without a model."""

import dataclasses
import json
import math
import types

import numpy as np
import pytest

from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.results import original_size
from deeplab2_like.storage import json_files
from deeplab2_like.trainer import scores as scores_lib

_DATASET = descriptor_lib.make(["road", "sky"], ["car", "bus"])


def _make_scores(has_instances=True, descriptor=_DATASET):
    system = types.SimpleNamespace(
        descriptor=descriptor, has_instances=has_instances
    )
    return scores_lib.Scores(system)


def _make_image(name, true, predicted, has_instances=True):
    true, predicted = np.array([true]), np.array([predicted])
    ids = np.unique(predicted[predicted % 1000 > 0])
    return original_size.RestoredImage(
        name=name,
        image=np.zeros((*true.shape, 3), np.uint8),
        true_panoptic=true,
        semantic=predicted // 1000,
        panoptic=predicted if has_instances else None,
        segments={"id": ids, "score": np.linspace(0.5, 0.9, len(ids))},
    )


_TRUE = [0, 0, 0, 0, 1000, 1000, 2001, 2001, 2002, 255000]
_WRONG = [0, 0, 1000, 1000, 1000, 1000, 2001, 2001, 0, 0]


@pytest.fixture
def results():
    scores = _make_scores()
    scores.update(_make_image("a/right", _TRUE, _TRUE))
    scores.update(_make_image("b/wrong", _TRUE, _WRONG))
    scores.update(_make_image("c/void", [255000] * 4, [0] * 4))
    scores.update_losses({"semantic_loss": np.array([1.0, 3.0])})
    return scores.results()


def test_each_class_has_its_numbers_under_its_name(results):
    classes = results["classes"]
    assert list(classes) == ["road", "sky", "car", "bus"]
    car = classes["car"]
    # 3 of 4 cars are found, each whole.
    assert (car["tp"], car["fp"], car["fn"]) == (3, 0, 1)
    assert car["SQ"] == pytest.approx(1.0)
    assert car["RQ"] == pytest.approx(3 / 3.5)
    assert car["PQ"] == pytest.approx(3 / 3.5)
    assert car["IoU"] == pytest.approx(5 / 6)
    assert 0.5 < car["AP"] <= 1
    assert car["is_thing"]
    assert "AP" not in classes["road"]
    assert math.isnan(classes["bus"]["PQ"])
    assert results["iou_per_class"][2] == car["IoU"]
    groups = results["groups"]
    assert groups["all"]["num_classes"] == 3
    assert groups["things"]["tp"] == 3
    summaries = results["summaries"]
    assert groups["all"]["PQ"] == summaries["evaluation/pq/PQ"]
    assert results["num_images"] == 3


def test_the_confusion_counts_pixels_by_names(results):
    confusion = results["confusion"]
    assert confusion["true_classes"] == ["road", "sky", "car", "bus"]
    assert confusion["predicted_classes"][-1] == "(void)"
    assert confusion["pixels"] == [
        [6, 2, 0, 0, 0],
        [0, 4, 0, 0, 0],
        [1, 0, 5, 0, 0],
        [0, 0, 0, 0, 0],
    ]


def test_images_are_listed_worst_first_and_nothing_without_labels(results):
    wrong, right = results["images"]
    assert (wrong["name"], right["name"]) == ("b/wrong", "a/right")
    assert right["PQ"] == right["mIoU"] == 1.0
    assert wrong["PQ"] < 0.6
    # Half of the road is found with an IoU of 0.4.
    assert (wrong["tp"], wrong["fp"], wrong["fn"]) == (1, 2, 3)


def test_no_more_than_the_worst_images_are_kept():
    scores = _make_scores()
    count = 3 * scores_lib.WORST_IMAGES
    for index in range(count):
        # The share of sky grows with the index, that of wrong pixels too.
        predicted = [1000] * index + [0] * (count - index)
        scores.update(_make_image(str(index), [0] * count, predicted))
    worst = scores.results()["images"]
    assert len(worst) == scores_lib.WORST_IMAGES
    values = [entry["PQ"] for entry in worst]
    assert values == sorted(values)
    names = {entry["name"] for entry in worst}
    # Those with an IoU of 0.5 or less have 0.
    assert all(int(name) >= count // 2 for name in names)


def test_semantic_systems_have_iou_alone():
    scores = _make_scores(has_instances=False)
    scores.update(_make_image("a", _TRUE, _WRONG, has_instances=False))
    results = scores.results()
    assert set(results["classes"]["car"]) == {"is_thing", "IoU"}
    assert set(results["images"][0]) == {"name", "mIoU"}
    assert "groups" not in results


def test_a_class_that_stands_for_void_is_not_listed():
    descriptor = dataclasses.replace(_DATASET, ignore_label=1, stuff_ids=(0,))
    results = _make_scores(descriptor=descriptor).results()
    assert list(results["classes"]) == ["road", "car", "bus"]


def test_results_are_json_without_nan(results):
    def refuse(name):
        raise AssertionError(name)

    content = json.loads(json_files.to_text(results), parse_constant=refuse)
    assert content["classes"]["bus"]["PQ"] is None
    assert content["summaries"].keys() == results["summaries"].keys()


def test_each_class_has_tags_for_tensorboard(results):
    tags = scores_lib.class_summaries(results)
    assert tags["evaluation/pq/PQ/car"] == results["classes"]["car"]["PQ"]
    assert tags["evaluation/iou/IoU/sky"] == results["classes"]["sky"]["IoU"]
    assert "evaluation/ap/AP_Mask/car" in tags
    assert "evaluation/ap/AP_Mask/sky" not in tags
    assert not set(tags) & set(results["summaries"])
