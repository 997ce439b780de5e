# SPDX-License-Identifier: Apache-2.0
"""Overlaps of forms, and the numbering of instances, against NumPy twins."""

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.labels import layers as layers_lib
from deeplab2_like.labels.layers import Layers, Part
from deeplab2_like.labels.masks import Mask

DATA = descriptor_lib.make(["sky", "road"], ["car", "person"])
CAR, PERSON = 2, 3


def box(top, left, height, width):
    return Mask(top, left, np.ones((height, width), bool))


def test_smaller_objects_are_on_top_of_larger_ones():
    parts = [
        Part(PERSON, box(2, 2, 2, 2), 1),
        Part(CAR, box(0, 0, 5, 5), 2),
    ]
    found, hidden = layers_lib.paint(parts, Layers.empty((6, 6), 0))
    assert (found.instances[2:4, 2:4] == 1).all()
    assert (found.classes[2:4, 2:4] == PERSON).all()
    assert (found.instances == 2).sum() == 21
    assert (found.classes == 0).sum() == 11
    assert hidden == 0


def test_later_objects_are_on_top_when_asked_for():
    parts = [
        Part(PERSON, box(2, 2, 2, 2), 1),
        Part(CAR, box(0, 0, 5, 5), 2),
    ]
    found, hidden = layers_lib.paint(
        parts, Layers.empty((6, 6), 0), layers_lib.LATER
    )
    assert (found.instances == 1).sum() == 0
    assert hidden == 1


def test_an_order_of_classes_decides_before_the_size():
    parts = [
        Part(1, box(2, 2, 2, 2)),
        Part(CAR, box(0, 0, 5, 5), 1),
        Part(PERSON, box(0, 0, 1, 1), 2),
    ]
    found, _ = layers_lib.paint(parts, Layers.empty((6, 6)), [CAR, 1])
    assert (found.classes[2:4, 2:4] == 1).all()
    assert found.classes[0, 0] == CAR  # The order lacks persons.


def test_all_parts_of_an_object_count_for_its_size():
    parts = [
        Part(CAR, box(0, 0, 2, 2), 1),
        Part(CAR, box(0, 4, 2, 4), 1),
        Part(PERSON, box(0, 0, 3, 3), 2),
    ]
    found, _ = layers_lib.paint(parts, Layers.empty((4, 8)))
    assert found.instances[0, 0] == 2


def test_crowds_are_below_objects():
    parts = [
        Part(CAR, box(0, 0, 4, 4), 1),
        Part(PERSON, box(1, 1, 1, 1), 2, is_crowd=True),
    ]
    found, hidden = layers_lib.paint(parts, Layers.empty((4, 4)))
    assert hidden == 1
    assert (found.classes == CAR).all()


def number_slowly(layers, loose):
    """Numbers each object by looking at single pixels."""
    size = layers.size
    label = np.full(size, DATA.void_id)
    for c in range(DATA.num_classes):
        count = 0
        of_class = (layers.classes == c) & ~layers.crowds
        label[layers.classes == c] = c * 1000
        if c not in DATA.thing_ids:
            continue
        for number in sorted(set(layers.instances[of_class].ravel()) - {0}):
            count += 1
            pixels = of_class & (layers.instances == number)
            label[pixels] = c * 1000 + count
        rest = of_class & (layers.instances == 0)
        label[rest] = DATA.void_id
        if loose == "components":
            for y, x in zip(*np.nonzero(rest), strict=True):
                if label[y, x] != DATA.void_id:
                    continue
                count += 1
                todo = [(y, x)]
                while todo:
                    a, b = todo.pop()
                    inside = 0 <= a < size[0] and 0 <= b < size[1]
                    if inside and rest[a, b] and label[a, b] == DATA.void_id:
                        label[a, b] = c * 1000 + count
                        todo += [
                            (a + 1, b), (a - 1, b), (a, b + 1), (a, b - 1)
                        ]  # fmt: skip
    return label


@pytest.mark.parametrize("loose", layers_lib.LOOSE_RULES)
@pytest.mark.parametrize("seed", range(20))
def test_objects_are_numbered_as_by_a_slow_twin(seed, loose):
    rng = np.random.default_rng(seed)
    size = (12, 15)
    layers = Layers(
        rng.integers(-1, 4, size, np.int32),
        rng.choice([0, 1, 2, 2**40], size, p=[0.7, 0.1, 0.1, 0.1]),
        rng.random(size) < 0.1,
    )
    panoptic, counts, crowds = layers_lib.to_panoptic(layers, DATA, loose=loose)
    np.testing.assert_array_equal(panoptic, number_slowly(layers, loose))
    assert panoptic.dtype == np.int32
    for c in DATA.thing_ids:
        of_class = panoptic[panoptic // 1000 == c]
        assert counts[c] == len({*of_class.tolist()} - {c * 1000})
    assert crowds == sum((panoptic == c * 1000).any() for c in DATA.thing_ids)


def test_a_map_with_a_spiral_is_one_region():
    size = 41
    spiral = np.full((size, size), -1, np.int32)
    for ring in range(0, size // 2, 2):
        spiral[ring, ring : size - ring] = 1
        spiral[ring : size - ring, size - 1 - ring] = 1
        spiral[size - 1 - ring, ring : size - ring] = 1
        spiral[ring + 2 : size - ring, ring] = 1
        spiral[ring + 2, ring : ring + 3] = 1
    regions = layers_lib.number_regions(spiral)
    assert {*regions[spiral == 1].tolist()} == {1}
    assert {*regions[spiral == -1].tolist()} == {0}


def test_more_instances_than_the_divisor_allows_are_refused():
    data = descriptor_lib.make([], ["cell"], label_divisor=10)
    layers = Layers(
        np.zeros((4, 4), np.int32),
        np.arange(16).reshape(4, 4) + 1,
        np.zeros((4, 4), bool),
    )
    with pytest.raises(errors.DataError, match=r"16 instances of 'cell'"):
        layers_lib.to_panoptic(layers, data, where="Image 'a'")
