# SPDX-License-Identifier: Apache-2.0
"""Which classes are things, and what the background is."""

import pytest

from deeplab2_like import errors
from deeplab2_like.labels import layers
from deeplab2_like.labels.coco_json import Category
from deeplab2_like.recipes.forms.reading import (
    Reading,
    add_background,
    choose_things,
)

NAMES = ["background", "car", "sky"]
OPEN = [False, None, None]


@pytest.mark.parametrize(
    ("known", "reading", "flags"),
    [
        ([False, True, False], Reading(), (False, True, False)),
        (OPEN, Reading(things=("car",)), (False, True, False)),
        (OPEN, Reading(stuff=("sky",)), (False, True, False)),
        (OPEN, Reading(things=("all",)), (False, True, True)),
        (OPEN, Reading(things=("all",), stuff=("sky",)), (False, True, False)),
        ([True] * 3, Reading(stuff=()), (True, True, True)),
        (
            OPEN,
            Reading(things=("car",), stuff=("sky", "background")),
            (False, True, False),
        ),
    ],
)
def test_the_user_decides_then_the_labels(known, reading, flags):
    chosen = choose_things(NAMES, known, reading)
    assert chosen.flags == flags
    assert not chosen.question


def test_what_is_open_is_asked():
    chosen = choose_things(NAMES, OPEN, Reading())
    assert "'car', 'sky'" in chosen.question
    assert chosen.flags == (False, True, True)


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        (Reading(things=("cat",)), "--things names 'cat'"),
        (Reading(stuff=("cat",)), "--stuff names 'cat'"),
        (Reading(things=("car",), stuff=("car",)), "both name 'car'"),
        (Reading(things=("car",), stuff=("sky",)), "Neither .*'background'"),
    ],
)
def test_names_of_no_class_are_refused(reading, message):
    with pytest.raises(errors.ConfigError, match=message):
        choose_things(NAMES, OPEN, reading)


def test_the_background_gets_a_free_id():
    one, other = Category(1, "car"), Category(0, "sky")
    assert add_background([one], Reading())[0][0].id == 0
    found, index = add_background([one, other], Reading())
    assert [c.id for c in found] == [0, 1, 2]
    assert index == 2
    assert add_background([one, other], Reading(background="sky"))[1] == 0
    assert add_background([one], Reading(background="void"))[1] == layers.VOID


def test_an_order_of_classes_becomes_indices():
    assert Reading().read_order(NAMES) == "smaller"
    assert Reading(overlap="sky, car").read_order(NAMES) == [2, 1]
