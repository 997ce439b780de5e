# SPDX-License-Identifier: Apache-2.0
"""AP by the rules of Cityscapes; recipes/published compares its script."""

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.metrics.cityscapes_precision import CityscapesPrecision

_DATA = descriptor_lib.make(["sky"], ["car", "dog"])
_CAR, _DOG, _VOID = 1000, 2000, 255_000


def compute(images):
    """Computes the result of images of (truth, prediction, scores)."""
    precision = CityscapesPrecision(_DATA)
    for truth, predicted, scores in images:
        precision.update(truth, predicted, [*scores], [*scores.values()])
    return precision.result()


def draw(*parts, size=(30, 100)):
    """Draws (value, rows, columns) over sky."""
    drawn = np.zeros(size, int)
    for value, rows, columns in parts:
        drawn[rows, columns] = value
    return drawn


_LEFT, _RIGHT = slice(0, 20), slice(40, 60)
_ALL = slice(0, 20)


def test_a_perfect_prediction_has_1():
    truth = draw((_CAR + 1, _ALL, _LEFT), (_CAR + 2, _ALL, _RIGHT))
    found = compute([(truth, truth, {_CAR + 1: 0.9, _CAR + 2: 0.9})])
    assert found.ap == found.ap50 == 1
    assert np.isnan(found.per_class[1]).all()  # There is no dog.
    assert found.num_images == 1


def test_a_missed_object_halves_the_recall():
    truth = draw((_CAR + 1, _ALL, _LEFT), (_CAR + 2, _ALL, _RIGHT))
    predicted = draw((_CAR + 1, _ALL, _LEFT))
    found = compute([(truth, predicted, {_CAR + 1: 0.9})])
    # Recall falls from 1/2 to 0 in one step: half of it has precision 1, and
    # the widths of the curve's ends are halves.
    assert found.ap == pytest.approx(0.5)


def test_groups_void_and_small_objects_excuse_detections():
    truth = draw(
        (_CAR + 1, _ALL, _LEFT),
        (_CAR, _ALL, _RIGHT),  # A group.
        (_VOID, _ALL, slice(62, 80)),
        (_CAR + 2, slice(22, 30), slice(0, 10)),  # 80 pixels.
    )
    scores = {_CAR + i: 0.9 for i in (1, 2, 3, 4)}
    predicted = draw(
        (_CAR + 1, _ALL, _LEFT),
        (_CAR + 2, slice(0, 10), _RIGHT),
        (_CAR + 3, _ALL, slice(64, 80)),
        (_CAR + 4, slice(22, 30), slice(0, 10)),
    )
    assert compute([(truth, predicted, scores)]).ap == 1
    wrong = draw((_CAR + 1, _ALL, _LEFT), (_CAR + 2, _ALL, slice(84, 99)))
    assert compute([(truth, wrong, scores)]).ap < 1


def test_the_threshold_is_above_the_overlap():
    truth = draw((_CAR + 1, _ALL, _LEFT))
    predicted = draw((_CAR + 1, slice(0, 10), _LEFT))  # IoU 0.5.
    assert compute([(truth, predicted, {_CAR + 1: 0.9})]).ap50 == 0


def test_objects_without_detections_have_0_and_none_have_nan():
    truth = draw((_CAR + 1, _ALL, _LEFT))
    assert compute([(truth, draw(), {})]).ap == 0
    assert np.isnan(compute([(draw(), truth, {_CAR + 1: 0.5})]).ap)
    assert np.isnan(compute([]).ap)


def test_detections_that_are_all_excused_have_0():
    truth = draw((_CAR + 1, _ALL, _LEFT), (_CAR, _ALL, _RIGHT))
    predicted = draw((_CAR + 1, slice(0, 9), _RIGHT))
    assert compute([(truth, predicted, {_CAR + 1: 0.9})]).ap == 0


def test_the_order_of_images_does_not_matter():
    images = []
    random = np.random.default_rng(1)
    for number in range(4):
        truth = draw((_CAR + 1, _ALL, _LEFT), (_DOG + 1, _ALL, _RIGHT))
        predicted = np.roll(truth, number, 1)
        images.append(
            (truth, predicted, {i: random.random() for i in (1001, 2001)})
        )
    one, other = compute(images), compute(images[::-1])
    np.testing.assert_allclose(one.per_class, other.per_class, rtol=1e-12)


def test_a_thing_without_a_score_is_refused():
    truth = draw((_CAR + 1, _ALL, _LEFT))
    with pytest.raises(errors.DataError, match="1001 has no score"):
        compute([(truth, truth, {})])
