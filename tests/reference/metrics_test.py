# SPDX-License-Identifier: Apache-2.0
"""PQ, mIoU and mask AP against the metrics of deeplab2."""

import dataclasses

import numpy as np

from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.metrics import average_precision, mean_iou, panoptic_quality

FAMILY = "metrics"


def test_metrics_equal_those_of_deeplab2(reference_case):
    with reference_case() as case:
        true, predicted = case.input("gt"), case.input("pred")
        semantic = case.input("pred_semantic")
        descriptor = _make_descriptor(case.meta)
        _compare_pq(case, descriptor, true, predicted)
        _compare_miou(case, descriptor, true, semantic)
        if "ap" in case:
            _compare_ap(case, descriptor, true, predicted)


def _make_descriptor(meta):
    first, last = meta["thing_class_ids"]
    descriptor = descriptor_lib.make(
        [f"class {index}" for index in range(meta["num_classes"])],
        [],
        ignore_label=meta["ignore_label"],
        label_divisor=meta["label_divisor"],
    )
    things = tuple(range(first, last + 1))
    stuff = tuple(i for i in descriptor.stuff_ids if i not in things)
    return dataclasses.replace(descriptor, thing_ids=things, stuff_ids=stuff)


def _compare_pq(case, descriptor, true, predicted):
    metric = panoptic_quality.PanopticQuality(descriptor, variant="deeplab2")
    metric.update(true, predicted)
    result = metric.result()
    group = result.all
    with np.errstate(invalid="ignore"):
        means = np.array([group.tp, group.fn, group.fp], float) / np.float64(
            group.num_classes
        )
    values = [group.pq, group.sq, group.rq, *means]
    case.compare("pq_result", values, atol=1e-5)
    for name, field in (
        ("pq_iou", "iou_sum"),
        ("pq_tp", "tp"),
        ("pq_fn", "fn"),
        ("pq_fp", "fp"),
    ):
        values = [getattr(quality, field) for quality in result.per_class]
        case.compare(name, values, atol=1e-5)


def _compare_miou(case, descriptor, true, semantic):
    metric = mean_iou.MeanIoU(descriptor)
    metric.update(true // case.meta["label_divisor"], semantic)
    result = metric.result()
    case.compare("miou", result.miou, atol=1e-5)
    case.compare("confusion", result.confusion)


def _compare_ap(case, descriptor, true, predicted):
    divisor = case.meta["label_divisor"]
    first, last = case.meta["thing_class_ids"]
    true_classes = true // divisor
    is_crowd = (true_classes >= first) & (true_classes <= last)
    is_crowd &= true % divisor == 0
    # The accumulator finds the crowd in the labels by itself.
    case.compare("is_crowd", is_crowd)
    probabilities = case.input("semantic_u8").astype(np.float32) / 255
    instance_scores = case.input("instance_scores")
    metric = average_precision.AveragePrecision(descriptor)
    for i in range(len(true)):
        ids = np.unique(predicted[i])
        ids = ids[(ids // divisor >= first) & (ids // divisor <= last)]
        scores = []
        for segment in ids:
            inside = predicted[i] == segment
            semantic_score = probabilities[i, ..., segment // divisor][inside]
            scores.append(
                semantic_score.mean() * instance_scores[i][inside].mean()
            )
        metric.update(true[i], predicted[i], ids, np.array(scores, np.float64))
    case.compare("ap", metric.result().values, atol=1e-4)
