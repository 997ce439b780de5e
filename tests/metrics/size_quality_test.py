# SPDX-License-Identifier: Apache-2.0
"""PQ by the size of things, compared with a plain count of the segments."""

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.labels import descriptor
from deeplab2_like.metrics import panoptic_quality, size_quality


def _measure(dataset, maps, variant="panopticapi"):
    sizes = size_quality.SizeQuality(dataset, variant=variant)
    for truth, predicted in maps:
        sizes.update(truth, predicted)
    return sizes


def _count_twin(dataset, truth, predicted, low, high):
    """Sum of IoU, matches, false and missed things by class, segment by one."""
    counts = np.zeros((4, dataset.num_classes))
    divisor = dataset.label_divisor
    is_void = truth // divisor == dataset.ignore_label
    matched = set()
    for t in np.unique(truth):
        class_id = t // divisor
        area = int((truth == t).sum())
        if class_id not in dataset.thing_ids or t % divisor == 0:
            continue
        best = 0.0
        for p in np.unique(predicted[truth == t]):
            if p // divisor != class_id:
                continue
            shared = ((truth == t) & (predicted == p)).sum()
            union = area + ((predicted == p) & ~is_void).sum() - shared
            if shared / union > 0.5:
                best = shared / union
                matched.add(p)
        if low <= area < high:
            counts[1 if best else 3, class_id] += 1
            counts[0, class_id] += best
    for p in np.unique(predicted):
        class_id = p // divisor
        inside = predicted == p
        crowd = inside & (truth == class_id * divisor)
        excused = (is_void & inside).sum() + crowd.sum()
        is_false = class_id in dataset.thing_ids and p not in matched
        if is_false and 2 * excused <= inside.sum():
            counts[2, class_id] += low <= inside.sum() < high
    return counts


@pytest.mark.parametrize("limits", [(8, 64), size_quality.COCO_LIMITS])
def test_each_range_has_the_counts_of_a_plain_count(dataset, make_maps, limits):
    maps = [make_maps(seed) for seed in range(12)]
    ranges = _measure(dataset, maps).result(limits)
    for found, low, high in zip(
        ranges, (0, *limits), (*limits, np.inf), strict=True
    ):
        assert found.lowest == low
        expected = sum(_count_twin(dataset, *m, low, high) for m in maps)
        for quality in found.quality.per_class:
            iou_sum, tp, fp, fn = expected[:, quality.class_id]
            assert (quality.tp, quality.fp, quality.fn) == (tp, fp, fn)
            assert quality.iou_sum == pytest.approx(iou_sum)
    assert ranges[-1].below is None


@pytest.mark.parametrize("variant", panoptic_quality.VARIANTS)
def test_the_ranges_add_up_to_all_things(dataset, make_maps, variant):
    maps = [make_maps(seed) for seed in range(6)]
    quality = panoptic_quality.PanopticQuality(dataset, variant=variant)
    for truth, predicted in maps:
        quality.update(truth, predicted)
    things = quality.result().things
    ranges = _measure(dataset, maps, variant).result((16, 32))
    for name in ("tp", "fp", "fn"):
        parts = [getattr(r.quality.things, name) for r in ranges]
        assert sum(parts) == getattr(things, name)


def test_limits_belong_to_the_larger_things(dataset):
    truth = np.full((64, 96), 1000)
    truth[:32, :32] = 3001
    truth[32:, :31] = 3002
    small, medium, large = _measure(dataset, [(truth, truth)]).result(
        size_quality.COCO_LIMITS
    )
    assert small.quality.things.tp == 1
    assert medium.quality.things.tp == 1
    assert large.quality.things.tp == 0
    assert np.isnan(large.quality.things.pq)


def test_thirds_hold_about_as_many_true_things_each(dataset):
    rng = np.random.default_rng(0)
    sizes = size_quality.SizeQuality(dataset)
    for _ in range(300):
        truth = np.zeros((64, 64), np.int64)
        h, w = rng.integers(1, 64, 2)
        truth[:h, :w] = 3001
        sizes.update(truth, truth)
    limits = sizes.find_thirds()
    parts = [r.quality.things.tp for r in sizes.result(limits)]
    assert sum(parts) == 300
    assert min(parts) > 75


def test_things_of_one_size_have_no_thirds(dataset):
    truth = np.array([[0, 3001, 3002, 3003]])
    sizes = _measure(dataset, [(truth, truth)])
    assert sizes.find_thirds() is None
    assert size_quality.SizeQuality(dataset).find_thirds() is None


def test_merged_accumulators_are_one_of_all_images(dataset, make_maps):
    maps = [make_maps(seed) for seed in range(4)]
    whole = _measure(dataset, maps)
    merged = _measure(dataset, maps[:1])
    merged.merge(_measure(dataset, maps[1:]))
    np.testing.assert_allclose(merged.state(), whole.state())
    other = size_quality.SizeQuality(descriptor.make(["sky"], ["car"]))
    with pytest.raises(errors.ConfigError, match="same descriptor"):
        merged.merge(other)


def test_a_limit_inside_of_an_interval_is_refused(dataset):
    with pytest.raises(errors.ConfigError, match=r"\[1000\]"):
        size_quality.SizeQuality(dataset).result([1000])
