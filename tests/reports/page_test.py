# SPDX-License-Identifier: Apache-2.0
"""The page: what it holds, what it must not, and its numbers."""

import json
import re

import pytest

from deeplab2_like.reports import comparison, evaluation, report

page = pytest.importorskip("deeplab2_like.reports.page", exc_type=ImportError)

_EVIL = "<script>alert('x')</script>\"'&"
_PICTURE = report.Picture("image", b"\xff\xd8not decoded", "image/jpeg", 4, 3)


def _make(metrics, **more):
    found = evaluation.read_evaluation(metrics, "metrics.json")
    drawn = [report.DrawnImage(image, [_PICTURE]) for image in found.images]
    arguments = {
        "name": "runs",
        "evaluation": found,
        "data": metrics,
        "drawn": drawn,
        "colors": [("road", (128, 64, 128))],
    }
    return page.render(report.Report(**(arguments | more)))


def _compare(metrics, scores=None):
    other = evaluation.read_evaluation(metrics, "metrics.json")
    return comparison.Comparison("other", other, scores or {})


def test_every_section_is_there_once_and_linked(metrics, read_page):
    shown = read_page(_make(metrics, compared=_compare(metrics)))
    assert shown.open == []
    ids = [a["id"] for _, a in shown.elements if "id" in a]
    assert len(ids) == len(set(ids))
    links = [a["href"][1:] for tag, a in shown.elements if tag == "a"]
    assert set(links) <= set(ids)
    for name in ("comparison", "limits", "by-size", "reliability", "worst"):
        assert name in links
    described = [
        a["aria-labelledby"]
        for _, a in shown.elements
        if "aria-labelledby" in a
    ]
    assert set(described) <= set(ids)


def test_nothing_is_loaded_from_elsewhere(metrics, read_page):
    text = _make(metrics, compared=_compare(metrics))
    shown = read_page(text)
    for tag, attributes in shown.elements:
        for key in ("src", "href", "action", "srcset", "poster", "data"):
            value = attributes.get(key, "#")
            assert value.startswith(("#", "data:")), (tag, key, value)
    assert "http://" not in text
    assert "https://" not in text
    assert "url(" not in text
    assert "@import" not in text
    policies = [
        attributes["content"]
        for tag, attributes in shown.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies[0].startswith("default-src 'none'")


def _rename_all(metrics, name):
    """Renders a page in which all texts that users choose are `name`."""
    text = json.dumps(metrics).replace('"car"', json.dumps(name))
    renamed = json.loads(text.replace('"a"', json.dumps(name + "2")))
    renamed |= {"experiment": name, "warnings": [name], "data_set": name}
    found = evaluation.read_evaluation(renamed, "metrics.json")
    picture = report.Picture(name, b"", "image/jpeg", 4, 3)
    text = _make(
        renamed,
        name=name,
        drawn=[report.DrawnImage(i, [picture]) for i in found.images],
        colors=[(name, (1, 2, 3))],
        compared=comparison.Comparison(name, found, {name: 0.5}),
    )
    return renamed, text


def test_names_are_text_and_never_code(metrics, read_page):
    _, plain = _rename_all(metrics, "plain")
    renamed, text = _rename_all(metrics, _EVIL)
    shown = read_page(text)
    tags = [tag for tag, _ in shown.elements]
    assert tags == [tag for tag, _ in read_page(plain).elements]
    assert "<script>alert" not in text
    assert shown.tables["classes"][4][0] == _EVIL
    assert shown.tables["images"][0][0] == _EVIL + "2"
    assert json.loads(shown.texts["script"][0]) == renamed


def test_the_numbers_are_those_of_the_file(metrics, read_page):
    shown = read_page(_make(metrics))
    assert json.loads(shown.texts["script"][0]) == metrics
    classes = shown.tables["classes"]
    assert [row[0] for row in classes] == [
        "all (3)",
        "things (2)",
        "stuff (1)",
        "road",
        "car",
        "bus",
    ]
    for row in classes[3:]:
        entry = metrics["classes"][row[0]]
        assert row[1] == ("thing" if entry["is_thing"] else "stuff")
        for text, key in zip(
            row[2:7], ("PQ", "SQ", "RQ", "IoU", "AP"), strict=True
        ):
            value = entry.get(key)
            if value is None:
                assert text.startswith("\u2013 (")
            else:
                assert text == f"{100 * value:.1f}"
        assert row[7:] == [str(entry[key]) for key in ("tp", "fp", "fn")]
    assert [row[0] for row in shown.tables["images"]] == ["a", "b"]
    assert len(shown.tables["reliability-bins"]) == 11
    gains = [row[2] for row in shown.tables["oracles"]]
    assert gains[1:] == ["+30.0", "+5.0", "+49.0"]
    assert shown.tables["confused-pairs"][0] == [
        "road", "car", "150", "15.0", "65.2",
    ]  # fmt: skip
    heat = shown.tables["heat"]
    # A class without pixels is not shown.
    assert [row[0] for row in heat] == ["road", "car"]
    assert heat[0][1:] == ["80", "15", "5", "1\u202f000"]


def test_what_is_not_defined_is_a_dash_with_the_reason(metrics, read_page):
    text = _make(metrics)
    visible = re.sub(r"<(style|script).*?</\1>", "", text, flags=re.DOTALL)
    assert not re.search(r"\b(NaN|nan|None|null|inf)\b", visible)
    shown = read_page(text)
    bus = shown.tables["classes"][5]
    assert bus[2] == (
        "\u2013 (the class occurs neither in the truth nor in the predictions)"
    )
    assert bus[6] == "\u2013 (no such thing occurs in the truth)"
    large = shown.tables["coco-sizes"][2]
    assert large[2] == "\u2013 (no such thing is true or predicted)"


def test_a_system_without_instances_has_no_sections_of_instances(
    metrics, read_page
):
    for key in (
        "groups",
        "average_precision",
        "object_sizes",
        "score_reliability",
        "oracles",
    ):
        del metrics[key]
    for entry in (*metrics["classes"].values(), *metrics["images"]):
        for key in ("PQ", "SQ", "RQ", "AP", "tp", "fp", "fn"):
            entry.pop(key, None)
    shown = read_page(_make(metrics))
    ids = {a["id"] for _, a in shown.elements if "id" in a}
    assert not ids & {"limits", "by-size", "reliability", "oracles"}
    assert shown.tables["images"] == [["a", "20.0"], ["b", "40.0"]]
    assert shown.tables["classes"][0][2] == (
        "\u2013 (the system predicts no instances)"
    )


def test_of_many_classes_the_heat_map_has_the_most_confused(metrics, read_page):
    names = [f"class {i}" for i in range(50)]
    pixels = [[0] * 51 for _ in names]
    for i in range(50):
        pixels[i][i] = 100
        pixels[i][(i + 1) % 50] = i
    metrics["confusion"] = {
        "true_classes": names,
        "predicted_classes": [*names, "(void)"],
        "pixels": pixels,
    }
    text = _make(metrics)
    heat = read_page(text).tables["heat"]
    assert len(heat) == 30
    assert heat[-1][0] == "class 49"
    assert "20 classes with the fewest errors are left out" in text


def test_two_runs_stand_side_by_side(metrics, read_page):
    other = json.loads(json.dumps(metrics))
    other["classes"]["car"]["PQ"] = 0.55
    other["images"] = [
        metrics["images"][1] | {"PQ": 0.25},
        metrics["images"][1] | {"name": "c", "PQ": 0.9},
        metrics["images"][1] | {"name": "d"},
    ]
    other |= {"num_images": 7, "file_pattern": ["elsewhere"]}
    compared = _compare(other, {"b": 0.3, "c": 0.45})
    text = _make(metrics, compared=compared)
    shown = read_page(text)
    rows = {row[0]: row for row in shown.tables["compared-classes"]}
    assert rows["car"][1:4] == ["40.0", "55.0", "\u221215.0"]
    assert rows["road"][3] == "0.0"
    images = {row[0]: row[1:] for row in shown.tables["compared-images"]}
    assert images["b"] == ["30.0", "25.0", "+5.0"]
    assert images["c"] == ["45.0", "90.0", "\u221245.0"]
    assert images["a"][1].startswith("\u2013 (the image is not among")
    assert images["d"][0].startswith("\u2013 (the image is not among")
    order = [row[0] for row in shown.tables["compared-images"]]
    assert order[:2] == ["c", "b"]
    assert "The numbers of images differ: 12345 here, 7 in other." in text
    assert "The records differ: records/val-* here, elsewhere in other." in text


def test_an_image_is_found_by_its_picture(metrics, read_page):
    shown = read_page(_make(metrics))
    pictures = [a for tag, a in shown.elements if tag == "img" and "src" in a]
    assert [a["alt"] for a in pictures] == ["image of a", "image of b"]
    assert pictures[0]["src"] == _PICTURE.uri
