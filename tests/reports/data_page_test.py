# SPDX-License-Identifier: Apache-2.0
"""The page about data: what it holds, and its numbers."""

import dataclasses
import json
import re

import pytest

from deeplab2_like.reports import report
from deeplab2_like.reports.data_check import (
    ClassCounts,
    DataCheck,
    DataReport,
    Finding,
    SampleImage,
    Split,
)

page = pytest.importorskip(
    "deeplab2_like.reports.data_page", exc_type=ImportError
)

_EVIL = "<script>alert('x')</script>\"'&"
_PICTURE = report.Picture("image", b"\xff\xd8not decoded", "image/jpeg", 4, 3)
_CHECK = DataCheck(
    name="streets",
    form="COCO-panoptic: a.json with images.",
    is_quick=False,
    has_labels=True,
    num_images=12,
    splits=(Split("train", 8, 1000, 100, 24, 2), Split("val", 3, 500, 0, 9, 0)),
    classes=(
        ClassCounts("sky", False, (300, 200), (8, 3), (0, 0), (0, 0)),
        ClassCounts("car", True, (600, 300), (7, 3), (24, 9), (2, 0)),
        ClassCounts("bus", True, (0, 0), (0, 0), (0, 0), (0, 0)),
    ),
    sizes=((48, 64, 9), (480, 640, 2)),
    instances_per_image=((0, 1), (3, 9), (14, 1)),
    instance_sides=((4, 8, 20), (8, 16, 0), (16, 32, 13)),
    equal=(1, 2),
    near=(3, 0),
    findings=(
        Finding(
            "problem", "1 problem in files.", "Fix it.", ("It is bad.",), 1
        ),
        Finding("warning", "1 of 3 classes do not occur.", "So.", ("bus",), 1),
        Finding("note", "Many pairs.", "", ("a and b",) * 100, 250),
    ),
)
_SAMPLE = SampleImage("0001", "train", "most objects: 14", "14 car", [_PICTURE])


def _render(check=_CHECK, samples=(_SAMPLE,)):
    return page.render(
        DataReport(check, check.to_metrics(), samples, [("sky", (1, 2, 3))])
    )


def test_every_section_is_there_once_and_linked(read_page):
    shown = read_page(_render())
    assert shown.open == []
    ids = [a["id"] for _, a in shown.elements if "id" in a]
    assert len(ids) == len(set(ids))
    links = [a["href"][1:] for tag, a in shown.elements if tag == "a"]
    assert set(links) <= set(ids)
    for name in ("attention", "samples", "by-class", "objects", "by-split"):
        assert name in links


def test_nothing_is_loaded_from_elsewhere(read_page):
    text = _render()
    for tag, attributes in read_page(text).elements:
        for key in ("src", "href", "action", "srcset", "poster", "data"):
            value = attributes.get(key, "#")
            assert value.startswith(("#", "data:")), (tag, key, value)
    assert "http://" not in text
    assert "https://" not in text


def test_names_are_text_and_never_code(read_page):
    renamed = dataclasses.replace(
        _CHECK,
        name=_EVIL,
        form=_EVIL,
        splits=tuple(
            dataclasses.replace(one, name=_EVIL) for one in _CHECK.splits
        ),
        classes=tuple(
            dataclasses.replace(one, name=_EVIL) for one in _CHECK.classes
        ),
        findings=(Finding("warning", _EVIL, _EVIL, (_EVIL, "x" * 50), 2),),
    )
    sample = SampleImage(_EVIL, _EVIL, _EVIL, _EVIL, [_PICTURE])
    text = _render(renamed, [sample])
    assert "<script>alert" not in text
    assert read_page(text).tables["data-classes"][0][0] == _EVIL


def test_the_numbers_are_those_of_the_file(read_page):
    shown = read_page(_render())
    found = json.loads(shown.texts["script"][0])
    assert found == json.loads(json.dumps(_CHECK.to_metrics()))
    rows = {row[0]: row[1:] for row in shown.tables["data-classes"]}
    assert rows["car"] == ["thing", "66.7 %", "60.0 %", "7", "3", "24", "9"]
    assert rows["sky"][:3] == ["stuff", "33.3 %", "40.0 %"]
    assert rows["sky"][-1].startswith("\u2013 (stuff has no objects")
    assert rows["bus"][1] == "0 %"
    splits = {row[0]: row[1:] for row in shown.tables["splits"]}
    assert splits["train"] == ["8", "24", "3.0", "2", "10.0"]
    sizes = shown.tables["sizes"]
    assert sizes[0] == ["48 \u00d7 64", "9", "81.8", "1.33", "0.00"]


def test_findings_are_in_order_with_their_examples():
    text = re.sub(r"\s+", " ", _render())
    places = [
        text.index(part)
        for part in ("1 problem in files.", "1 of 3 classes", "Many pairs.")
    ]
    assert places == sorted(places)
    assert "the data cannot be used before they are corrected" in text
    assert "The first 100 of 250" in text
    assert '<p class="examples">bus</p>' in text


@pytest.mark.parametrize(
    ("levels", "verdict"),
    [
        ([], "No problem was found, and nothing else that needs attention."),
        (["note"], "No problem was found. What is listed is good to know."),
        (["warning"], "No problem was found. The warnings are worth a look"),
    ],
)
def test_a_page_without_a_problem_says_so(levels, verdict):
    findings = tuple(Finding(level, "x") for level in levels)
    check = dataclasses.replace(_CHECK, findings=findings)
    assert page.describe_verdict(check).startswith(verdict)
    assert verdict in _render(check)


def test_headers_alone_have_no_section_of_labels(read_page):
    check = dataclasses.replace(
        _CHECK,
        is_quick=True,
        has_labels=False,
        classes=(),
        instances_per_image=(),
        instance_sides=(),
        findings=(),
    )
    text = _render(check, ())
    shown = read_page(text)
    ids = {a["id"] for _, a in shown.elements if "id" in a}
    assert not ids & {"by-class", "objects", "samples"}
    assert shown.tables["splits"][0] == ["train", "8"]
    assert "not looked for" in text


def test_data_without_a_good_image_have_a_page(read_page):
    check = dataclasses.replace(
        _CHECK,
        has_labels=False,
        splits=(Split("train", 0, 0, 0, 0, 0),),
        classes=(),
        sizes=(),
        instances_per_image=(),
        instance_sides=(),
    )
    assert read_page(_render(check, ())).open == []


def test_a_thousand_classes_are_listed_and_some_are_drawn():
    classes = tuple(
        dataclasses.replace(_CHECK.classes[1], name=f"class {i}")
        for i in range(1000)
    )
    text = _render(dataclasses.replace(_CHECK, classes=classes))
    assert text.count(">class 7</th>") == 1
    assert "drawn are the 30 classes of the fewest pixels" in text
