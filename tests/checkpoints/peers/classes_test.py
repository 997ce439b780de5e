# SPDX-License-Identifier: Apache-2.0
"""The orders of classes in published models."""

import dataclasses

import pytest

from deeplab2_like.checkpoints.peers import classes
from deeplab2_like.labels import descriptor


@pytest.fixture(scope="module")
def coco():
    return descriptor.load("coco_panoptic")


def test_coco_has_its_classes_in_the_order_of_their_ids(coco):
    assert (len(classes.COCO_THINGS), len(classes.COCO_STUFF)) == (80, 53)
    ids = [*classes.COCO_THINGS, *classes.COCO_STUFF]
    assert ids == sorted(ids)
    assert {*ids, 0} == set(coco.category_ids)


def test_coco_here_has_the_same_order_and_a_class_that_is_ignored(coco):
    order = classes.order_classes(coco, 133)
    assert order == classes.Order((None, *range(133)), is_known=True)
    assert classes.order_coco(coco) == (list(range(80)), list(range(53)))


def test_cityscapes_has_the_train_ids():
    order = classes.order_classes(descriptor.load("cityscapes_panoptic"), 19)
    assert order == classes.Order(tuple(range(19)), is_known=True)


def test_classes_of_another_order_are_found_by_their_ids(coco):
    back = tuple(reversed(range(134)))
    turned = dataclasses.replace(
        coco,
        category_ids=tuple(coco.category_ids[index] for index in back),
        thing_ids=tuple(sorted(133 - index for index in coco.thing_ids)),
        stuff_ids=tuple(sorted(133 - index for index in coco.stuff_ids)),
        ignore_label=133,
    )
    order = classes.order_classes(turned, 133)
    assert order.classes == (*reversed(range(133)), None)
    things, stuff = classes.order_coco(turned)
    assert things == list(reversed(range(80)))
    assert stuff == list(reversed(range(53)))


def test_classes_of_other_data_sets_are_in_the_order_of_the_file():
    own = descriptor.make(["sky", "grass"], ["cow"])
    order = classes.order_classes(own, 3)
    assert order == classes.Order((0, 1, 2), is_known=False)
    assert classes.order_classes(own, 4) is None
    assert classes.order_coco(own) is None
    first = dataclasses.replace(own, ignore_label=0, stuff_ids=(1,))
    assert classes.order_classes(first, 2).classes == (None, 0, 1)
    assert classes.order_classes(first, 3).classes == (0, 1, 2)


def test_the_data_set_follows_from_the_number_of_classes():
    assert classes.name_data_set(19) == "cityscapes_panoptic"
    assert classes.name_data_set(133) == "coco_panoptic"
    assert classes.name_data_set(20) is None
