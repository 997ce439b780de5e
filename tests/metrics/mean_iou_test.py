# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.metrics import mean_iou
from deeplab2_like.results.panoptic_result import PanopticResult


def _count(truth, predicted, num_classes, ignore_label):
    confusion = np.zeros((num_classes, num_classes), int)
    for t, p in zip(truth.flat, predicted.flat, strict=True):
        if t != ignore_label:
            confusion[t, p] += 1
    return confusion


def test_the_confusion_matrix_is_counted_pixel_by_pixel(make_dataset):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, (3, 20, 17))
    truth[truth == 4] = 255
    predicted = rng.integers(0, 4, truth.shape).astype(np.uint8)
    metric = mean_iou.MeanIoU(make_dataset(5))
    metric.update(truth, predicted)
    result = metric.result()
    expected = _count(truth, predicted, 5, 255)
    np.testing.assert_array_equal(result.confusion, expected)
    hits = np.diagonal(expected)
    union = expected.sum(0) + expected.sum(1) - hits
    iou = hits[:4] / union[:4]
    assert result.miou == pytest.approx(iou.mean())
    np.testing.assert_allclose(result.per_class[:4], iou)
    assert math.isnan(result.per_class[4])
    assert result.pixel_accuracy == pytest.approx(hits.sum() / expected.sum())
    assert result.num_images == 3


def test_a_perfect_prediction_scores_one(make_dataset):
    labels = np.random.default_rng(1).integers(0, 3, (8, 9))
    metric = mean_iou.MeanIoU(make_dataset(7))
    metric.update(labels, labels)
    assert metric.result().scalars() == {"mIoU": 1.0, "pixel_accuracy": 1.0}


def test_pixels_predicted_as_void_count_against_their_true_class_only(
    make_dataset,
):
    truth = np.array([[0, 0, 1, 1]])
    predicted = np.array([[0, 255, 1, 1]])
    metric = mean_iou.MeanIoU(make_dataset(2))
    metric.update(truth, predicted)
    np.testing.assert_allclose(metric.result().per_class, [0.5, 1.0])


def test_order_and_merging_do_not_matter(make_dataset):
    rng = np.random.default_rng(2)
    truth, predicted = rng.integers(0, 4, (2, 5, 6, 7))
    whole, first, second, summed = (
        mean_iou.MeanIoU(make_dataset(4, ignore_label=3)) for _ in range(4)
    )
    whole.update(truth[::-1], predicted[::-1])
    first.update(truth[:2], predicted[:2])
    second.update(truth[2:], predicted[2:])
    summed.load_state(first.state() + second.state())
    first.merge(second)
    for metric in (first, summed):
        assert metric.result().scalars() == whole.result().scalars()
        assert metric.result().num_images == 5


def test_an_unlabelled_truth_gives_zero_as_in_keras_and_a_warning(make_dataset):
    metric = mean_iou.MeanIoU(make_dataset(3))
    metric.update(np.full((2, 2), 255), np.zeros((2, 2), int))
    assert metric.result().miou == 0.0
    assert "labelled" in metric.result().warnings[0]


def test_the_result_of_a_predictor_is_a_prediction(make_maps, dataset):
    truth, predicted = make_maps(0)
    expected, found = mean_iou.MeanIoU(dataset), mean_iou.MeanIoU(dataset)
    classes = truth // dataset.label_divisor
    expected.update(classes, predicted // dataset.label_divisor)
    result = PanopticResult.from_label(predicted, dataset)
    found.update(classes, result.semantic())
    np.testing.assert_array_equal(found.state(), expected.state())


@pytest.mark.parametrize("wrong", [3, 254, -1])
def test_unknown_classes_are_refused(make_dataset, wrong):
    metric = mean_iou.MeanIoU(make_dataset(3))
    good, bad = np.zeros((2, 2), int), np.full((2, 2), wrong)
    with pytest.raises(errors.DataError, match=rf"of image a.png.* {wrong}\."):
        metric.update(bad, good, names=["a.png"])
    with pytest.raises(errors.DataError, match="prediction for image 0"):
        metric.update(good, bad)


def test_metrics_of_different_sizes_do_not_merge(make_dataset):
    with pytest.raises(errors.ConfigError, match="3 classes"):
        mean_iou.MeanIoU(make_dataset(2)).merge(
            mean_iou.MeanIoU(make_dataset(3))
        )
