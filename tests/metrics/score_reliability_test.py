# SPDX-License-Identifier: Apache-2.0
"""Expected and observed precision by score, compared with plain sums."""

import math

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.labels import descriptor
from deeplab2_like.metrics import score_reliability


def _draw_things(scores, is_right):
    """Maps of things in a row, each found whole or under the wrong class."""
    count = len(scores)
    truth = np.arange(1, count + 1)[None] + 3000
    predicted = np.where(is_right, truth, truth + 1000)
    return truth, predicted, predicted[0], scores


def _measure(dataset, *images):
    reliability = score_reliability.ScoreReliability(dataset)
    for image in images:
        reliability.update(*image)
    return reliability


def test_the_error_is_the_mean_difference_of_the_intervals(dataset):
    rng = np.random.default_rng(0)
    scores = rng.random(500)
    is_right = rng.random(500) < scores**2
    found = _measure(dataset, _draw_things(scores, is_right)).result()
    bins = np.floor(scores * 10)
    expected = 0.0
    for place, part in enumerate(found.bins):
        inside = bins == place
        assert part.count == inside.sum()
        assert part.matched == is_right[inside].sum()
        assert part.mean_score == pytest.approx(scores[inside].mean())
        assert part.precision == pytest.approx(is_right[inside].mean())
        difference = is_right[inside].mean() - scores[inside].mean()
        expected += inside.mean() * abs(difference)
    assert found.ece == pytest.approx(expected)
    assert found.count == 500
    assert found.precision == pytest.approx(is_right.mean())


def test_scores_that_state_their_precision_have_no_error(dataset):
    scores = np.repeat([0.25, 0.75], 100)
    is_right = np.tile([True, False, False, False], 50)
    is_right[100:] = ~is_right[100:]
    found = _measure(dataset, _draw_things(scores, is_right)).result()
    assert found.ece == pytest.approx(0)


def test_ends_and_scores_beyond_them_are_in_the_outer_intervals(dataset):
    scores = np.array([-0.5, 0.0, 1.0, 1.7])
    found = _measure(dataset, _draw_things(scores, [True] * 4)).result()
    assert [part.count for part in found.bins] == [2, *[0] * 8, 2]
    assert found.bins[-1].mean_score == 1
    assert math.isnan(found.bins[5].precision)


def test_things_on_void_and_crowd_do_not_count(dataset):
    truth = np.array([[255000, 255000, 3000, 3000, 3001]])
    predicted = np.array([[4001, 4001, 3007, 3007, 3001]])
    ids, scores = [4001, 3007, 3001, 0], [0.9, 0.8, 0.7, 0.5]
    found = _measure(dataset, (truth, predicted, ids, scores)).result()
    assert (found.count, found.precision) == (1, 1.0)


def test_classes_are_counted_apart(dataset):
    truth, predicted, ids, scores = _draw_things(
        np.array([0.9, 0.8]), [True, False]
    )
    found = _measure(dataset, (truth, predicted, ids, scores)).per_class()
    assert list(found) == [3, 4, 5]
    assert (found[3].count, found[3].precision) == (1, 1.0)
    assert (found[4].count, found[4].precision) == (1, 0.0)
    assert math.isnan(found[5].ece)


def test_merged_accumulators_are_one_of_all_images(dataset):
    images = [
        _draw_things(np.array([score, 0.4]), [True, False])
        for score in (0.3, 0.6, 0.9)
    ]
    merged = _measure(dataset, images[0])
    merged.merge(_measure(dataset, *images[1:]))
    whole = _measure(dataset, *images).result()
    assert merged.result().ece == pytest.approx(whole.ece)
    other = descriptor.make(["sky"], ["car"])
    with pytest.raises(errors.ConfigError, match="same descriptor"):
        merged.merge(score_reliability.ScoreReliability(other))


def test_a_thing_without_a_score_is_named(dataset):
    truth, predicted, ids, scores = _draw_things(np.array([0.9]), [True])
    with pytest.raises(errors.DataError, match="have no score"):
        _measure(dataset, (truth, predicted, ids[:0], scores[:0]))
