# SPDX-License-Identifier: Apache-2.0
import math
import pickle

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.metrics import panoptic_quality, quality_result
from deeplab2_like.results.panoptic_result import PanopticResult


def _count_by_masks(truth, predicted, dataset, variant):
    """PQ's counts of one image, segment by segment, as the rules say."""
    divisor, ignore = dataset.label_divisor, dataset.ignore_label
    counts = np.zeros((4, dataset.num_classes))
    if variant == "panopticapi":
        void = truth // divisor == ignore
    else:
        void = truth == ignore * divisor

    def is_crowd(label):
        is_thing = label // divisor in dataset.thing_ids
        return variant == "panopticapi" and is_thing and label % divisor == 0

    true_ids = [i for i in np.unique(truth) if i // divisor != ignore]
    ids = [i for i in np.unique(predicted) if i // divisor != ignore]
    matched = set()
    for label in true_ids:
        mask = truth == label
        found = False
        for other in ids:
            other_mask = predicted == other
            union = (mask | other_mask) & ~(other_mask & void)
            iou = (mask & other_mask).sum() / union.sum()
            same_class = label // divisor == other // divisor
            if same_class and iou > 0.5 and not is_crowd(label):
                counts[0, label // divisor] += iou
                counts[1, label // divisor] += 1
                matched.add(other)
                found = True
        if not found and not is_crowd(label):
            counts[3, label // divisor] += 1
    for other in ids:
        excuse = void.copy()
        crowd = other // divisor * divisor
        if is_crowd(crowd):
            excuse |= truth == crowd
        mask = predicted == other
        mostly_excused = (mask & excuse).sum() / mask.sum() > 0.5
        if other not in matched and not mostly_excused:
            counts[2, other // divisor] += 1
    return counts


def _counts_of(result):
    return np.array(
        [
            [getattr(c, name) for c in result.per_class]
            for name in ("iou_sum", "tp", "fp", "fn")
        ]
    )


def _score(dataset, pairs, variant="panopticapi"):
    metric = panoptic_quality.PanopticQuality(dataset, variant=variant)
    for truth, predicted in pairs:
        metric.update(truth, predicted)
    return metric


@pytest.mark.parametrize("variant", panoptic_quality.VARIANTS)
def test_200_images_score_as_by_a_count_with_masks(make_maps, dataset, variant):
    seen = np.zeros((4, dataset.num_classes))
    for seed in range(200):
        truth, predicted = make_maps(seed)
        result = _score(dataset, [(truth, predicted)], variant).result()
        expected = _count_by_masks(truth, predicted, dataset, variant)
        np.testing.assert_allclose(_counts_of(result), expected, atol=1e-12)
        seen += expected
    # The images are of use only if they have all kinds of outcomes.
    assert (seen > 0).all()


def test_the_variants_differ_where_there_is_crowd(make_maps, dataset):
    pairs = [make_maps(seed) for seed in range(20)]
    first, second = (
        _score(dataset, pairs, variant).result().all.pq
        for variant in panoptic_quality.VARIANTS
    )
    assert first != second


def test_a_perfect_prediction_scores_one(make_maps, dataset):
    pairs = [(make_maps(seed)[0],) * 2 for seed in range(10)]
    result = _score(dataset, pairs).result()
    for group in (result.all, result.things, result.stuff):
        assert (group.pq, group.sq, group.rq) == (1.0, 1.0, 1.0)
        assert (group.fp, group.fn) == (0, 0)


def test_an_exchange_of_truth_and_prediction_exchanges_the_errors(
    make_maps, dataset
):
    for seed in range(20):
        pair = make_maps(seed)
        # Without void and crowd, whose roles are not symmetric.
        pair = [np.where(m // 1000 == 255, 0, m) for m in pair]
        pair = [np.where((m >= 3000) & (m % 1000 == 0), 1, m) for m in pair]
        there = _score(dataset, [pair]).result()
        back = _score(dataset, [pair[::-1]]).result()
        assert (there.all.fp, there.all.fn) == (back.all.fn, back.all.fp)
        assert there.all.pq == pytest.approx(back.all.pq, nan_ok=True)


def test_true_positives_and_misses_add_up_to_the_true_segments(
    make_maps, dataset
):
    for seed in range(20):
        truth, predicted = make_maps(seed)
        result = _score(dataset, [(truth, predicted)]).result()
        labels = np.unique(truth)
        classes = labels // 1000
        crowd = np.isin(classes, dataset.thing_ids) & (labels % 1000 == 0)
        expected = np.sum((classes != 255) & ~crowd)
        assert result.all.tp + result.all.fn == expected


def test_order_batches_and_merging_do_not_matter(make_maps, dataset):
    pairs = [make_maps(seed) for seed in range(6)]
    expected = _score(dataset, pairs).result().scalars()
    backwards = _score(dataset, pairs[::-1])
    batched = panoptic_quality.PanopticQuality(dataset)
    truths, predictions = (np.stack(maps) for maps in zip(*pairs, strict=True))
    batched.update(truths[:4], predictions[:4])
    batched.update(truths[4:], predictions[4:])
    merged = _score(dataset, pairs[:2])
    merged.merge(pickle.loads(pickle.dumps(_score(dataset, pairs[2:]))))
    summed = panoptic_quality.PanopticQuality(dataset)
    summed.load_state(
        _score(dataset, pairs[:3]).state() + _score(dataset, pairs[3:]).state()
    )
    for metric in (backwards, batched, merged, summed):
        assert metric.result().scalars() == pytest.approx(expected, abs=1e-12)
        assert metric.result().num_images == 6


def test_result_may_be_asked_for_repeatedly(make_maps, dataset):
    metric = _score(dataset, [make_maps(0)])
    assert metric.result().scalars() == metric.result().scalars()


def test_no_images_give_nan_and_a_warning(dataset):
    result = panoptic_quality.PanopticQuality(dataset).result()
    assert all(math.isnan(value) for value in result.scalars().values())
    assert "not defined" in result.warnings[0]
    assert result.table()


def test_a_group_that_does_not_occur_is_nan_with_a_warning(dataset):
    only_stuff = np.full((4, 4), 2000)
    result = _score(dataset, [(only_stuff, only_stuff)]).result()
    assert math.isnan(result.things.pq)
    assert result.stuff.pq == 1.0
    assert result.all.num_classes == 1
    assert [w for w in result.warnings if "thing" in w]


def test_a_void_truth_asks_for_nothing_and_forgives_everything(dataset):
    void = np.full((4, 4), 255000)
    result = _score(dataset, [(void, np.full((4, 4), 3001))]).result()
    assert result.all.num_classes == 0


def test_a_truth_of_crowds_alone_asks_for_nothing(dataset):
    """Crowd forgives its own class; another class on it is wrong."""
    thing, other = dataset.thing_ids[:2]
    crowd = np.full((4, 4), thing * dataset.label_divisor)
    same = _score(dataset, [(crowd, crowd + 1)]).result()
    assert same.all.num_classes == 0
    wrong = np.full((4, 4), other * dataset.label_divisor + 1)
    result = _score(dataset, [(crowd, wrong)]).result()
    assert (result.all.pq, result.all.fp, result.all.fn) == (0.0, 1, 0)


def test_a_prediction_without_segments_misses_everything(make_maps, dataset):
    truth, _ = make_maps(0)
    void = np.full(truth.shape, 255000)
    result = _score(dataset, [(truth, void)]).result()
    assert (result.all.pq, result.all.tp, result.all.fp) == (0.0, 0, 0)


def test_void_may_be_a_class_index(make_maps, dataset):
    truth, predicted = make_maps(1)
    expected = _score(dataset, [(truth, predicted)]).result()
    # Class 0 becomes void, the others move up by one.
    inside = descriptor_lib.make(
        ["void", "sky", "road", "tree"],
        ["car", "person", "dog"],
        ignore_label=0,
    )
    moved = [
        np.where(m // 1000 == 255, 0, m + 1000) for m in (truth, predicted)
    ]
    result = _score(inside, [moved]).result()
    assert result.all == expected.all
    assert result.per_class[0].tp == 0


def test_the_result_of_a_predictor_is_a_prediction(make_maps, dataset):
    for seed in range(10):
        truth, predicted = make_maps(seed)
        expected = _score(dataset, [(truth, predicted)]).result()
        ids = np.unique(predicted)
        result = PanopticResult.from_prediction(
            predicted,
            dataset,
            segment_ids=ids,
            segment_scores=np.ones(len(ids)),
        )
        found = _score(dataset, [(truth, result.panoptic())]).result()
        assert found.scalars() == pytest.approx(
            expected.scalars(), nan_ok=True, abs=1e-12
        )
        # As a truth, with its crowd and void.
        label = PanopticResult.from_label(truth, dataset).panoptic()
        found = _score(dataset, [(label, predicted)]).result()
        assert found.all.tp == expected.all.tp
        assert found.all.fn == expected.all.fn


@pytest.mark.parametrize("label", [6000, 254_000, -1])
def test_labels_of_unknown_classes_are_refused(dataset, label):
    good, bad = np.zeros((3, 3), int), np.full((3, 3), label)
    metric = panoptic_quality.PanopticQuality(dataset)
    with pytest.raises(errors.DataError, match=rf"cat\.png.*{label}"):
        metric.update(good, bad, names=["cat.png"])
    with pytest.raises(errors.DataError, match="ground truth of image 0"):
        metric.update(bad, good)


def test_an_unknown_variant_is_refused(dataset):
    with pytest.raises(errors.ConfigError, match="deeplab2"):
        panoptic_quality.PanopticQuality(dataset, variant="coco")


def test_metrics_of_different_data_sets_do_not_merge(dataset):
    metric = panoptic_quality.PanopticQuality(dataset)
    other = panoptic_quality.PanopticQuality(dataset, variant="deeplab2")
    with pytest.raises(errors.ConfigError, match="merged"):
        metric.merge(other)


def test_counts_that_contradict_each_other_are_refused():
    counts = np.array([[3.0], [1.0], [0.0], [0.0]])
    with pytest.raises(errors.DataError, match="IoU sum of 3"):
        quality_result.summarize(
            counts,
            class_ids=[0],
            names=["car"],
            is_thing=[True],
            num_images=1,
        )


def test_the_table_shows_groups_and_the_classes_that_occur(dataset):
    labels = np.full((4, 4), 2000)
    metric = panoptic_quality.PanopticQuality(dataset)
    metric.update(labels, labels)
    table = metric.result().table()
    assert "tree" in table
    assert "car" not in table
    assert "100.00" in table
