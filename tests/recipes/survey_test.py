# SPDX-License-Identifier: Apache-2.0
"""The survey is compared with counting mask by mask."""

import numpy as np
import pytest

from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.recipes import survey

DATA = descriptor_lib.make(["sky", "road"], ["car", "dog"], label_divisor=100)
VOID = DATA.void_id


def look(*labels, is_val=()):
    surveyor = survey.Surveyor(DATA)
    for index, label in enumerate(labels):
        surveyor.add(np.array(label), is_val=index in is_val)
    return surveyor.finish()


def test_pixels_images_and_instances_are_counted_by_split():
    found = look(
        [[0, 201, 201], [0, 202, VOID]],
        [[100, 100], [200, 301]],
        is_val={1},
    )
    sky, road, car, dog = found.classes
    assert (sky.pixels, sky.images) == ((2, 0), (1, 0))
    assert (road.pixels, road.images) == ((0, 2), (0, 1))
    assert (car.pixels, car.images, car.instances) == ((3, 1), (1, 1), (2, 0))
    assert (dog.pixels, dog.instances) == ((0, 1), (0, 1))
    assert found.num_images == (1, 1)
    assert found.num_crowds == 1
    assert found.void_share == pytest.approx(1 / 10)
    assert found.num_sizes == 2
    assert [c.name for c in found.things] == ["car"]
    assert found.shares == {"car": 3 / 5, "sky": 2 / 5}


def test_spreads_are_those_of_masks_one_by_one():
    random = np.random.default_rng(0)
    labels = [
        random.choice([0, 100, 201, 202, 203, 301, 300, VOID], (12, 15))
        for _ in range(5)
    ]
    found = look(*labels)
    things = (201, 202, 203, 301)
    sizes = [
        np.sqrt((label == i).sum())
        for label in labels
        for i in things
        if (label == i).any()
    ]
    assert found.instance_sizes == survey.Spread.of(sizes)
    areas = [(label == i).sum() for label in labels for i in (0, 100)]
    assert found.stuff_areas == survey.Spread.of(areas)
    counts = [sum((label == i).any() for i in things) for label in labels]
    assert found.instances_per_image == survey.Spread.of(counts)


def test_distances_are_those_of_the_nearest_centers():
    label = np.zeros((9, 20), int)
    label[0:3, 0:3], label[0:3, 4:7], label[0:3, 14:17] = 201, 202, 301
    found = look(label)
    assert found.center_distances.least == 4
    assert found.center_distances.most == 10


def test_without_things_there_are_no_sizes():
    found = look([[0, 0], [100, VOID]])
    assert found.instance_sizes is None
    assert found.center_distances is None
    assert found.instances_per_image.most == 0
    assert not found.things


def test_a_class_that_stands_for_void_is_left_out():
    data = descriptor_lib.make(["void", "a"], [], ignore_label=0)
    surveyor = survey.Surveyor(data)
    surveyor.add(np.array([[0, 1000]]), is_val=False)
    found = surveyor.finish()
    assert [c.name for c in found.classes] == ["a"]
    assert found.void_share == 0.5
