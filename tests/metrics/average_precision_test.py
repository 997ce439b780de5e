# SPDX-License-Identifier: Apache-2.0
import builtins
import math

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.metrics import average_precision


def _score_by_cocoeval(images, thing_ids, divisor):
    """The whole of pycocotools, with a mask for each object."""
    from pycocotools import coco, cocoeval, mask

    def encode(inside):
        return mask.encode(np.asfortranarray(inside.astype(np.uint8)))

    truths, detections = [], []
    for i, (truth, found) in enumerate(images):
        for label in np.unique(truth):
            if label // divisor in thing_ids:
                inside = truth == label
                truths.append(
                    {
                        "id": len(truths) + 1,
                        "image_id": i,
                        "category_id": int(label // divisor),
                        "iscrowd": int(label % divisor == 0),
                        "area": int(inside.sum()),
                        "segmentation": encode(inside),
                    }
                )
        for inside, class_id, score in found:
            detections.append(
                {
                    "id": len(detections) + 1,
                    "image_id": i,
                    "category_id": int(class_id),
                    "score": float(score),
                    "area": int(inside.sum()),
                    "iscrowd": 0,
                    "segmentation": encode(inside),
                }
            )
    both = []
    for annotations in (truths, detections):
        data = coco.COCO()
        data.dataset = {
            "images": [
                {"id": i, "height": t.shape[0], "width": t.shape[1]}
                for i, (t, _) in enumerate(images)
            ],
            "categories": [{"id": c} for c in thing_ids],
            "annotations": annotations,
        }
        data.createIndex()
        both.append(data)
    evaluation = cocoeval.COCOeval(*both, iouType="segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats


def _list_things(predicted, thing_ids, rng, digits=1):
    """Returns ids and scores, many of them equal."""
    ids = np.unique(predicted)
    ids = ids[np.isin(ids // 1000, thing_ids)]
    return ids, np.round(rng.random(len(ids)), digits)


@pytest.fixture
def metric(dataset):
    return average_precision.AveragePrecision(dataset)


@pytest.mark.parametrize("seed", range(4))
def test_maps_score_as_by_cocoeval_on_masks(make_maps, dataset, metric, seed):
    rng = np.random.default_rng(seed)
    images = []
    for i in range(6):
        truth, predicted = make_maps(100 * seed + i, 130, 140, 12)
        ids, scores = _list_things(predicted, dataset.thing_ids, rng)
        metric.update(truth, predicted, ids, scores)
        found = [
            (predicted == label, label // 1000, score)
            for label, score in zip(ids, scores, strict=True)
        ]
        images.append((truth, found))
    expected = _score_by_cocoeval(images, dataset.thing_ids, 1000)
    np.testing.assert_allclose(metric.result().values, expected, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_overlapping_masks_score_as_by_cocoeval(
    make_maps, dataset, metric, seed
):
    rng = np.random.default_rng(seed)
    images = []
    for i in range(3):
        truth, _ = make_maps(100 * seed + i, 60, 70, 10)
        masks, classes = [], []
        for label in np.unique(truth):
            if label // 1000 not in dataset.thing_ids:
                continue
            # Several detections of each object, of different quality.
            for _ in range(12):
                shifted = np.roll(
                    truth == label, rng.integers(-3, 4, 2), (0, 1)
                )
                masks.append(shifted)
                classes.append(label // 1000)
        scores = np.round(rng.random(len(masks)), 1)
        metric.update_masks(truth, masks, classes, scores)
        images.append((truth, list(zip(masks, classes, scores, strict=True))))
    expected = _score_by_cocoeval(images, dataset.thing_ids, 1000)
    np.testing.assert_allclose(metric.result().values, expected, atol=1e-12)


def test_a_perfect_prediction_scores_one(make_maps, dataset, metric):
    for seed in range(3):
        truth, _ = make_maps(seed)
        truth[(truth >= 3000) & (truth % 1000 == 0)] = 0
        ids, scores = _list_things(
            truth, dataset.thing_ids, np.random.default_rng(0)
        )
        metric.update(truth, truth, ids, scores)
    assert metric.result().ap == pytest.approx(1.0)


def test_result_may_be_asked_for_repeatedly(make_maps, dataset, metric):
    truth, predicted = make_maps(0)
    ids, scores = _list_things(
        predicted, dataset.thing_ids, np.random.default_rng(0)
    )
    metric.update(truth, predicted, ids, scores)
    first, second = metric.result(), metric.result()
    np.testing.assert_array_equal(first.values, second.values)
    metric.update(truth, predicted, ids, scores)
    assert metric.result().num_images == 2


def test_batches_and_merging_do_not_matter(make_maps, dataset):
    rng = np.random.default_rng(0)
    pairs = [make_maps(seed) for seed in range(4)]
    tables = [_list_things(p, dataset.thing_ids, rng, 9) for _, p in pairs]
    size = max(len(ids) for ids, _ in tables)
    ids_bs = np.zeros((4, size), int)
    scores_bs = np.full((4, size), np.nan)
    valid_bs = np.zeros((4, size), bool)
    for row, (ids, scores) in enumerate(tables):
        ids_bs[row, : len(ids)] = ids
        scores_bs[row, : len(ids)] = scores
        valid_bs[row, : len(ids)] = True
    batched, first, second = (
        average_precision.AveragePrecision(dataset) for _ in range(3)
    )
    batched.update(
        np.stack([t for t, _ in pairs]),
        np.stack([p for _, p in pairs]),
        ids_bs,
        scores_bs,
        valid_bs,
    )
    for metric, rows in ((first, range(2)), (second, range(2, 4))):
        for row in rows:
            metric.update(*pairs[row], *tables[row])
    second.merge(first)
    np.testing.assert_allclose(
        batched.result().values, second.result().values, atol=1e-12
    )


def test_the_classes_average_to_the_whole(make_maps, dataset, metric):
    for seed in range(5):
        truth, predicted = make_maps(seed)
        ids, scores = _list_things(
            predicted, dataset.thing_ids, np.random.default_rng(seed)
        )
        metric.update(truth, predicted, ids, scores)
    result = metric.result()
    assert set(result.per_class) == set(dataset.thing_ids)
    assert np.nanmean(list(result.per_class.values())) == pytest.approx(
        result.ap
    )


def test_without_true_things_ap_is_not_defined(metric):
    stuff = np.zeros((4, 4), int)
    metric.update(stuff, stuff, [0], [0.5])
    result = metric.result()
    assert math.isnan(result.ap)
    np.testing.assert_array_equal(result.values, -np.ones(12))
    assert "not defined" in result.warnings[0]


def test_without_detections_ap_is_zero(metric):
    truth = np.full((4, 4), 3001)
    metric.update(truth, np.zeros_like(truth), [], [])
    metric.update_masks(truth, [], [], [])
    assert metric.result().ap == 0.0


def test_segments_of_the_table_that_vanished_are_left_out(metric):
    labels = np.full((4, 4), 3001)
    metric.update(labels, labels, [3001, 3002, 0], [0.5, 0.9, 0.1])
    assert metric.result().ap == pytest.approx(1.0)


def test_a_thing_without_a_score_is_refused(metric):
    labels = np.full((4, 4), 3001)
    with pytest.raises(errors.DataError, match=r"Image a\.jpg: .*3001"):
        metric.update(labels, labels, [3002], [0.5], names=["a.jpg"])


def test_a_score_that_is_not_a_number_is_refused(metric):
    labels = np.full((4, 4), 3001)
    with pytest.raises(errors.DataError, match="3001 is nan"):
        metric.update(labels, labels, [3001], [math.nan])


def test_tables_of_other_dimensions_are_refused(metric):
    labels = np.zeros((2, 4, 4), int)
    with pytest.raises(errors.DataError, match="2 images"):
        metric.update(labels, labels, [3001], [0.5])
    with pytest.raises(errors.DataError, match="1 masks, 2 classes"):
        metric.update_masks(labels[0], [labels[0] == 0], [3, 4], [0.5])
    with pytest.raises(errors.DataError, match=r"mask .* \(2, 2\)"):
        metric.update_masks(labels[0], [np.ones((2, 2), bool)], [3], [0.5])


def test_maps_that_are_no_label_maps_are_refused(metric):
    labels = np.zeros((4, 4), int)
    for wrong in (labels.astype(float), labels[0], None):
        with pytest.raises(errors.DataError, match="ground truth"):
            metric.update(wrong, labels, [0], [0.5])
        with pytest.raises(errors.DataError, match="prediction"):
            metric.update(labels, wrong, [0], [0.5])
    with pytest.raises(errors.DataError, match="ground truth has the type"):
        metric.update_masks(labels.astype(float), [], [], [])


def test_metrics_of_different_data_sets_do_not_merge(metric, make_dataset):
    other = average_precision.AveragePrecision(make_dataset(2))
    with pytest.raises(errors.ConfigError, match="merged"):
        metric.merge(other)


def test_a_missing_pycocotools_says_what_to_install(metric, monkeypatch):
    real_import = builtins.__import__

    def without_pycocotools(name, *args, **kwargs):
        if name.startswith("pycocotools"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pycocotools)
    with pytest.raises(errors.InstallError, match="pip install"):
        metric.result()
