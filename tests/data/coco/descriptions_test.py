# SPDX-License-Identifier: Apache-2.0
"""Descriptors that are written from JSON files load again, or are refused."""

import json

import pytest

from deeplab2_like import errors
from deeplab2_like.data.coco import descriptions
from deeplab2_like.labels import descriptor


def make_categories(**first):
    field = {"id": 3, "name": "field", "isthing": 0, "color": [90, 160, 60]}
    barn = {"id": 7, "name": "barn", "isthing": 1, "color": [200, 40, 40]}
    return [field | first, barn]


@pytest.fixture
def describe(tmp_path):
    """Returns a function that writes a descriptor and loads it."""

    def run(categories, segments=(), name="farm", file="p.json"):
        annotation = {
            "image_id": 1,
            "file_name": "a.png",
            "segments_info": [
                {"id": i, "category_id": category}
                for i, category in enumerate(segments, 1)
            ],
        }
        content = {"annotations": [annotation], "categories": categories}
        (tmp_path / file).write_text(json.dumps(content))
        text = descriptions.describe_categories(str(tmp_path / file), name)
        path = tmp_path / "d.textproto"
        path.write_text(text, encoding="utf-8")
        return descriptor.load(str(path)), text

    return run


@pytest.mark.parametrize(
    ("color", "expected"),
    [
        ("#5aa03c", (90, 160, 60)),
        ([0.5, 1.0, 0.0], (128, 255, 0)),
        ([90, 160, 60, 255], (90, 160, 60)),
        ("red", (255, 0, 0)),
    ],
)
def test_colors_of_other_forms_are_translated(describe, color, expected):
    data, text = describe(make_categories(color=color))
    assert data.colors[0] == expected
    assert "left out" not in text


@pytest.mark.parametrize("color", ["reddish", 5, [300, 1, 1], [1.0, 0.0, 0.0]])
def test_a_color_that_is_left_out_is_named_in_a_comment(describe, color):
    data, text = describe(make_categories(color=color))
    assert data.colors[1] == (200, 40, 40)
    assert "# categories[0] ('field'): color is " in text
    assert text.count("color:") == 1


@pytest.mark.parametrize("category_id", [3.0, "3", "3.0"])
def test_ids_of_other_forms_are_integers(describe, category_id):
    data, _ = describe(make_categories(id=category_id))
    assert data.category_ids == (3, 7)


@pytest.mark.parametrize("category_id", [-1, 2**24, 2**31, 10**30])
def test_ids_that_no_descriptor_has_are_refused(describe, category_id):
    with pytest.raises(errors.DataError, match=r"are 0\.\.16777215: number"):
        describe(make_categories(id=category_id))


@pytest.mark.parametrize(
    "name",
    [
        'a "car"',
        "it's",
        "a\nb\tc\r",
        "back\\slash \\n \\u0041",
        "\u00fcber \u2028 \U0001f404",
        "{ } # [x] ${HOME}",
        "\0\x7f\x85",
        " ",
        "x" * 9000,
    ],
)
def test_names_of_any_characters_are_kept(describe, name):
    data, _ = describe(make_categories(name=name), name=name)
    assert data.class_names == (name, "barn")
    assert data.name == name


def test_a_file_name_of_any_characters_is_no_line_of_the_text(describe):
    data, _ = describe(make_categories(), file="a\nclasses { #.json")
    assert data.num_classes == 2


def test_a_name_that_is_a_number_is_its_digits(describe):
    data, _ = describe(make_categories(name=12))
    assert data.class_names[0] == "12"


@pytest.mark.parametrize("name", [None, ""])
def test_a_missing_name_is_refused(describe, name):
    with pytest.raises(errors.DataError, match="without 'name': id 3"):
        describe(make_categories(name=name))


def test_a_name_that_repeats_gets_the_id(describe):
    categories = [
        {"id": 1, "name": "tree", "isthing": 0},
        {"id": 2, "name": "tree", "isthing": 1},
        {"id": 3, "name": "tree (2)", "isthing": 1},
    ]
    data, text = describe(categories)
    assert data.class_names == ("tree (1)", "tree (2)'", "tree (2)")
    assert "# Several categories have the name 'tree'" in text


@pytest.mark.parametrize("isthing", ["0", "false", 0.0, False])
def test_isthing_of_other_forms_is_read(describe, isthing):
    data, text = describe(make_categories(isthing=isthing))
    assert data.thing_ids == (1,)
    assert "does not say" not in text


def test_a_category_without_isthing_is_named_in_a_comment(describe):
    data, text = describe(make_categories(isthing=None))
    assert data.thing_ids == (1,)
    assert "things, so they are stuff here: 'field'." in text


def test_classes_of_one_color_are_named_in_a_comment(describe):
    _, text = describe(make_categories(color="#c82828"))
    assert "# 'field', 'barn' have the same color [200, 40, 40]" in text


@pytest.mark.parametrize(
    ("num_classes", "most", "ignore_label", "divisor"),
    [
        (2, 1, 255, 1000),
        (2, 499, 255, 1000),
        (2, 500, 255, 10_000),
        (255, 6000, 255, 100_000),
        (256, 600, 65_535, 10_000),
        (300, 6000, 300, 100_000),
        (300, 600_000, 300, 1_000_000),
    ],
)
def test_the_divisor_fits_any_number_of_segments(
    num_classes, most, ignore_label, divisor
):
    chosen = descriptions._choose_numbers(num_classes, most)
    assert chosen == (ignore_label, divisor)


def test_numbers_that_no_divisor_fits_are_refused():
    with pytest.raises(errors.DataError, match="need ids above 2147483647"):
        descriptions._choose_numbers(1000, 10**7)
    with pytest.raises(errors.DataError, match="or class indices above 65535"):
        descriptions._choose_numbers(65_536, 1)


def test_more_segments_than_the_usual_divisor_load_back(describe):
    data, _ = describe(make_categories(), segments=[3] * 1200)
    assert data.label_divisor == 10_000


def test_a_descriptor_beyond_the_limit_of_its_size_is_refused(describe):
    categories = [{"id": i, "name": f"{i} " + "x" * 99} for i in range(9999)]
    with pytest.raises(errors.DataError, match="larger than 1048576 bytes"):
        describe(categories)
