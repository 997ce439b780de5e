# SPDX-License-Identifier: Apache-2.0
"""Values as other tools write them: what is read, what is refused."""

import math

import numpy as np
import pytest

from deeplab2_like.labels import json_values

NAN = math.nan


@pytest.mark.parametrize("value", [3, 3.0, "3", "3.0", " 3 ", np.int64(3)])
def test_integers_are_read_in_each_form(value):
    number = json_values.read_integer(value)
    assert (number, type(number)) == (3, int)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        (True, "true (true or false)"),
        (NAN, "NaN (not a finite number)"),
        (3.5, "3.5 (a number)"),
        ("3x", "'3x' (text)"),
        ("", "'' (text)"),
        ([3], "[3] (a list)"),
        ({"a": 3}, "{'a': 3} (an object)"),
        (1e300, "1e+300 (a number)"),
    ],
)
def test_other_integers_are_refused_with_value_and_type(value, shown):
    with pytest.raises(ValueError, match="must be an integer") as caught:
        json_values.read_integer(value)
    assert str(caught.value).startswith(f"is {shown}.")


def test_a_long_value_is_shortened():
    for value in ("a" * 9999, [[[[9]]]] * 999, 10**4000):
        assert len(json_values.describe(value)) < 120


def test_a_text_of_many_digits_is_refused_at_once():
    with pytest.raises(ValueError, match="must be an integer"):
        json_values.read_integer("1" * 10**6)
    with pytest.raises(ValueError, match="must be a number"):
        json_values.read_number("1" * 10**6 + "x")


@pytest.mark.parametrize(
    ("value", "area"),
    [(440, 440), ("440", 440), (438.5, 438.5), (None, None), (NAN, None)],
)
def test_areas_are_numbers_or_missing(value, area):
    assert json_values.read_area(value) == area


@pytest.mark.parametrize("value", [-1, math.inf, 10**400, True, [1], "1 px"])
def test_other_areas_are_refused(value):
    with pytest.raises(ValueError, match="must be"):
        json_values.read_area(value)


@pytest.mark.parametrize(
    ("values", "flag"),
    [
        ([0, 0.0, False, "0", "false", "False", " FALSE "], False),
        ([1, 1.0, True, "1", "true", "True"], True),
        ([None], None),
    ],
)
def test_truth_values_are_read_in_each_form(values, flag):
    assert {json_values.read_flag(value) for value in values} == {flag}


@pytest.mark.parametrize("value", [2, -1, NAN, "", "yes", "thing", [], {}])
def test_other_truth_values_are_refused(value):
    with pytest.raises(ValueError, match="must be 0 or 1, or true or false"):
        json_values.read_flag(value)


@pytest.mark.parametrize(
    ("value", "image_id"),
    [(5, 5), (5.0, 5), ("005", "005"), ("aachen_1", "aachen_1"), (-1, -1)],
)
def test_ids_of_images_are_integers_or_texts(value, image_id):
    found = json_values.read_image_id(value)
    assert (found, type(found)) == (image_id, type(image_id))


@pytest.mark.parametrize("value", [None, True, NAN, 0.5, "", [5], "\ud800"])
def test_other_ids_of_images_are_refused(value):
    with pytest.raises(ValueError, match="must be a"):
        json_values.read_image_id(value)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("a.png", "a.png"),
        (r"sub\1.png", "sub/1.png"),
        ("./sub//1.png", "sub/1.png"),
        ("\u00fcber [1].png", "\u00fcber [1].png"),
    ],
)
def test_file_names_have_forward_slashes(value, name):
    assert json_values.read_file_name(value) == name


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("/data/a.png", "is an absolute path"),
        (r"C:\data\a.png", "is an absolute path"),
        ("../a.png", "leads out of the folder"),
        (r"a\..\..\b.png", "leads out of the folder"),
        ("https://host/a.png", "is an address"),
        (".", "is not the name of a file"),
        ("a\0.png", "is not the name of a file"),
        ("", "is empty"),
        (139, "139 (a number). It must be the name of a file"),
        (None, "is null"),
    ],
)
def test_paths_that_leave_the_folder_are_refused(value, part):
    with pytest.raises(ValueError, match="must be") as caught:
        json_values.read_file_name(value)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("value", "color"),
    [
        ([90, 160, 60], (90, 160, 60)),
        ([90.0, 160.0, 60.0], (90, 160, 60)),
        (["90", "160", "60"], (90, 160, 60)),
        ([90, 160, 60, 255], (90, 160, 60)),
        ([0.5, 1.0, 0.0], (128, 255, 0)),
        ([0.5, 1, 0, 1], (128, 255, 0)),
        ([0, 0, 0], (0, 0, 0)),
        ([0.0, 0.0, 0.0], (0, 0, 0)),
        ([1, 0, 0], (1, 0, 0)),
        ("#5aa03c", (90, 160, 60)),
        ("5AA03C", (90, 160, 60)),
        ("102030", (16, 32, 48)),
        ("#5aa03cff", (90, 160, 60)),
        ("#fff", (255, 255, 255)),
        ("red", (255, 0, 0)),
        ("rgb(90, 160, 60)", (90, 160, 60)),
        ("90, 160, 60", (90, 160, 60)),
        ({"r": 90, "g": 160, "b": 60}, (90, 160, 60)),
        (None, None),
        ([], None),
        ("", None),
    ],
)
def test_colors_are_read_in_each_form(value, color):
    assert json_values.read_colors([value]) == [color]


@pytest.mark.parametrize(
    "value",
    [
        [1.0, 0.0, 0.0],  # Red, or nearly black.
        [300, 0, 0],
        [-1, 0, 0],
        [90, 160],
        [90, 160, 60, 1, 1],
        [True, 1, 1],
        [NAN, 0, 0],
        [None, 0, 0],
        [[90], 160, 60],
        "#12",
        "reddish",
        "rgb(300, 1, 1)",
        "1" * 9999,
        5,
        NAN,
        {"red": 1},
        {},
    ],
)
def test_colors_of_uncertain_meaning_are_errors(value):
    (error,) = json_values.read_colors([value])
    assert isinstance(error, ValueError)
    assert "must be [red, green, blue]" in str(error)


def test_fractions_in_one_color_make_the_others_certain():
    colors = json_values.read_colors([[1, 0, 0], [1.0, 1.0, 0.0], [0, 0.5, 1]])
    assert colors == [(255, 0, 0), (255, 255, 0), (0, 128, 255)]
    colors = json_values.read_colors([[1, 0, 0], [0, 0.5, 1], [90, 160, 60]])
    assert colors == [(1, 0, 0), (0, 128, 255), (90, 160, 60)]


def test_long_lists_of_values_are_summarized():
    assert json_values.summarize([1, "a"]) == "1, 'a'"
    assert json_values.summarize(range(9), 2) == "0, 1 and 7 more"
