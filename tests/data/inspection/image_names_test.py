# SPDX-License-Identifier: Apache-2.0
"""Names of images that make trouble."""

import pytest

from deeplab2_like.data.inspection import image_names


@pytest.mark.parametrize(
    "name",
    ["a", "north/0001", "street 5, (2)", "frame.0001", "\u00fcber", "x" * 200],
)
def test_usual_names_are_good(name):
    assert image_names.find_trouble(name) == ""


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("", "is empty"),
        ("../a", "leads out"),
        ("/a", "leads out"),
        ("a\nb", "cannot be printed"),
        (" a", "with a space"),
        ("a /b", "with a space"),
        ("what?", "has ?, which Windows"),
        ("a\\b", "which Windows"),
        ("north/NUL.1", "is reserved"),
        ("x" * 201, "longer than 200 bytes"),
        ("\u00e9" * 101, "longer than 200 bytes"),
        ("u\u0308ber", "Unicode NFD"),
    ],
)
def test_names_that_make_trouble_are_told_why(name, part):
    assert part in image_names.find_trouble(name)


def test_names_that_differ_in_capital_letters_are_found():
    names = ["a", "b", "A", "north/b", "stra\u00dfe", "STRASSE"]
    assert image_names.find_alike(names) == [
        ("a", "A"),
        ("stra\u00dfe", "STRASSE"),
    ]
