# SPDX-License-Identifier: Apache-2.0
import copy
import random

from deeplab2_like.testing import json_edits

CONTENT = {"a": [1, {"b": "x"}], "c": {}}


def test_every_value_has_a_place():
    places = json_edits.list_places(CONTENT)
    values = [container[key] for container, key in places]
    assert values == [CONTENT["a"], 1, {"b": "x"}, "x", {}]


def test_one_value_is_edited_and_the_seed_decides_how():
    found = []
    for seed in range(50):
        edited = [copy.deepcopy(CONTENT) for _ in range(2)]
        for one in edited:
            json_edits.edit_value(one, random.Random(seed), [None, "y"])
        assert edited[0] == edited[1]
        found.append(edited[0])
    assert sum(one != CONTENT for one in found) > 40
    assert all(isinstance(one, dict) for one in found)


def test_what_holds_no_value_stays():
    content = {}
    json_edits.edit_value(content, random.Random(0), [1])
    assert content == {}
