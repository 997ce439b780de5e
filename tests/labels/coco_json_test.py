# SPDX-License-Identifier: Apache-2.0
"""The one reader of COCO-panoptic JSON: forms that are read, and refused."""

import codecs
import itertools
import json
import math
import tracemalloc

import pytest

from deeplab2_like import errors
from deeplab2_like.labels import coco_json

LISTS = ("images", "annotations", "categories")


def make_content():
    return {
        "images": [{"id": 5, "file_name": "a.jpg", "height": 3, "width": 4}],
        "annotations": [
            {
                "image_id": 5,
                "file_name": "a.png",
                "segments_info": [
                    {"id": 9, "category_id": 3, "area": 12, "iscrowd": 0}
                ],
            }
        ],
        "categories": [
            {"id": 3, "name": "barn", "isthing": 1, "color": [200, 40, 40]}
        ],
    }


EXPECTED = (
    {5: coco_json.Image(5, "a.jpg", 3, 4)},
    {5: coco_json.Annotation(5, "a.png", (coco_json.Segment(9, 3, 12),))},
    {3: coco_json.Category(3, "barn", True, (200, 40, 40))},
)


class Content:
    """The content of a file, to be edited, and its entries."""

    def __init__(self, path):
        self.path = path
        self.all = make_content()
        self.image = self.all["images"][0]
        self.annotation = self.all["annotations"][0]
        self.segment = self.annotation["segments_info"][0]
        self.category = self.all["categories"][0]

    def load(self, required=LISTS):
        self.path.write_text(json.dumps(self.all))
        return coco_json.load(self.path, required)

    def get_error(self, required=LISTS):
        with pytest.raises(errors.DataError) as caught:
            self.load(required)
        message = str(caught.value)
        assert message.startswith(str(self.path))
        return message.removeprefix(f"{self.path}: ")


@pytest.fixture
def content(tmp_path):
    return Content(tmp_path / "p.json")


def check(read):
    assert (read.images, read.annotations, read.categories) == EXPECTED


def test_a_file_is_read_into_entries(content):
    read = content.load()
    check(read)
    assert read.warnings == ()


# The file.


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.replace(",", ",\r\n\t").encode(),
    ],
)
def test_encodings_of_editors_are_read(tmp_path, encode):
    (tmp_path / "p.json").write_bytes(encode(json.dumps(make_content())))
    check(coco_json.load(tmp_path / "p.json", LISTS))


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff\xfe\x00", "is not a text file. Give"),
        (b"\x1f\x8b\xff\xff", "compressed by gzip: unpack it"),
        (b"PK\x03\x04\xff\xff", "a ZIP archive: unpack it"),
        (b'{"images": [', ":1:13: not JSON (Expecting value). The file is cut"),
        (b'{"images": ["a', ":1:13: not JSON (Unterminated string starting at"),
        (b'{"annotations": [}', ":1:18: not JSON (Expecting value). Correct"),
        (b"<html>", ":1:1: not JSON (Expecting value). It is a web page"),
        (b"{}\n{}", ":2:1: not JSON (Extra data). Something follows"),
        (b"[" * 10**5, "lists in lists to a depth"),
        (b'{"a": ' + b"9" * 5000 + b"}", "4300 digits"),
        (b'{"a": 1, "a": 2}', "the key 'a' twice, with 1 (a number) and 2"),
        (b"[]", "has no list `images`"),
        (b"null", "at the top it is null"),
        (b'{"images": {}}', "no list `images`, which is {} (an object)"),
        (b'{"images": null}', "has no list `images`. A COCO-panoptic JSON"),
    ],
)
def test_files_of_other_kinds_are_refused(tmp_path, data, part):
    (tmp_path / "p.json").write_bytes(data)
    with pytest.raises(errors.DataError) as caught:
        coco_json.load(tmp_path / "p.json", ["images"])
    assert part in str(caught.value)
    assert str(tmp_path / "p.json") in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(errors.DataError, match=r"no\.json does not exist"):
        coco_json.load(tmp_path / "no.json", LISTS)
    with pytest.raises(errors.DataError, match=r"cannot be read \(Is a dir"):
        coco_json.load(tmp_path, LISTS)
    with pytest.raises(errors.DataError, match="cannot be read"):
        coco_json.load("a\0b", LISTS)


def test_a_detection_file_is_named(content):
    content.all["annotations"] = [
        {"id": 1, "image_id": 5, "category_id": 3, "bbox": [0, 0, 1, 1]}
    ]
    message = content.get_error()
    assert "is a COCO instances (detection) JSON" in message
    assert "panoptic_*.json" in message


def test_lists_that_are_not_needed_are_not_looked_at(content):
    content.all["annotations"] = content.all["images"] = 5
    read = content.load(["categories"])
    assert (read.images, read.annotations) == ({}, {})
    content.path.write_text('{"annotations": []}')
    read = coco_json.load(content.path, ["annotations"], ["categories"])
    assert read.categories == {}


# Entries.


def test_numbers_as_text_and_as_floats_are_read(content):
    content.image |= {"id": 5.0, "height": "3", "width": 4.0}
    content.annotation["image_id"] = "5"
    content.segment |= {"id": "9", "category_id": "3.0", "area": "12"}
    content.segment["iscrowd"] = "false"
    content.category |= {"id": "3", "isthing": "true"}
    content.category["color"] = ["200", "40", "40"]
    read = content.load()
    check(read)
    assert type(next(iter(read.categories))) is int


@pytest.mark.parametrize(
    ("name", "key", "value", "part"),
    [
        ("image", "id", None, "images[0]: id is null."),
        ("image", "id", True, "images[0]: id is true"),
        ("image", "file_name", 3, "images[0]: file_name is 3 (a number)."),
        ("annotation", "image_id", [5], "annotations[0]: image_id is [5]"),
        ("annotation", "image_id", math.nan, "image_id is NaN"),
        ("annotation", "segments_info", None, "Image 5: segments_info is null"),
        ("annotation", "segments_info", [None], "segments_info[0] is null."),
        ("segment", "id", 1.5, "Image 5: segments_info[0]: id is 1.5 (a numb"),
        ("segment", "id", -1, "id is -1 (a number). It must be 1..16777215"),
        ("segment", "id", 2**24, "id is 16777216 (a number). It must be 1.."),
        ("segment", "id", 0, "id is 0, which is void in the PNG"),
        ("segment", "category_id", "3x", "category_id is '3x' (text)."),
        ("segment", "iscrowd", 2, "iscrowd is 2 (a number)."),
        ("category", "id", None, "categories[0]: id is null."),
        ("category", "name", ["barn"], "name is ['barn'] (a list)."),
        ("category", "name", "\ud800", r"name is '\ud800' (text), which has a"),
        ("category", "isthing", "thing", "isthing is 'thing' (text)."),
    ],
)
def test_values_without_a_certain_meaning_are_refused(
    content, name, key, value, part
):
    getattr(content, name)[key] = value
    message = content.get_error()
    assert part in message
    assert message.count("\n") == 0


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("image", "id"),
        ("image", "file_name"),
        ("annotation", "image_id"),
        ("annotation", "file_name"),
        ("annotation", "segments_info"),
        ("segment", "id"),
        ("segment", "category_id"),
        ("category", "id"),
    ],
)
def test_keys_that_must_be_there(content, name, key):
    del getattr(content, name)[key]
    assert f"lacks {key}." in content.get_error()


def test_values_that_may_be_missing(content):
    for entry in (content.image, content.segment, content.category):
        for key in ("height", "width", "area", "iscrowd", "isthing", "color"):
            entry.pop(key, None)
    del content.category["name"]
    read = content.load()
    assert read.images[5].size is None
    assert read.annotations[5].segments == (coco_json.Segment(9, 3),)
    assert read.categories == {3: coco_json.Category(3)}
    content.image |= {"height": None, "width": 4}
    content.segment |= {"area": math.nan, "iscrowd": None, "score": None}
    content.category |= {"name": None, "isthing": None, "color": None}
    again = content.load()
    assert again.images[5].size is None
    assert again.annotations == read.annotations
    assert again.categories == read.categories
    assert again.warnings == ()


def test_values_that_are_not_needed_are_left_out_with_a_warning(content):
    content.image["height"] = -3
    content.segment |= {"area": "12 px", "score": [1]}
    content.category["color"] = "reddish"
    read = content.load()
    assert read.images[5].size is None
    assert read.annotations[5].segments == (coco_json.Segment(9, 3),)
    assert read.categories[3].color is None
    height, area, score, color = read.warnings
    assert height == (
        "images[0]: height is -3 (a number). It must be > 0. It is left out."
    )
    assert area.startswith("Image 5: segments_info[0]: area is '12 px' (text).")
    assert "score is [1] (a list)." in score
    assert color.startswith("categories[0] ('barn'): color is 'reddish' (text)")


def test_entries_that_are_no_objects_are_refused(content):
    content.all["categories"].append("x")
    assert "categories[1] is 'x' (text)." in content.get_error()


def test_many_problems_of_one_kind_are_one_sentence(content):
    content.annotation["segments_info"] = [{"id": 0}] * 500
    first, second = content.get_error().splitlines()[1:]
    assert first.endswith("another id in the JSON and in the PNG. (499 more "
                          "like this.)")  # fmt: skip
    assert "lacks category_id. (499 more like this.)" in second


def test_ten_kinds_of_problems_are_shown():
    with pytest.raises(errors.DataError) as caught:
        coco_json.raise_problems("x", [f"Problem {n}." for n in range(12)])
    lines = str(caught.value).splitlines()
    assert lines[0] == "x: cannot be used."
    assert lines[-2:] == ["  Problem 9.", "  ... and 2 more."]


def test_ids_that_repeat_are_refused(content):
    content.all["images"].append({"id": "b", "file_name": "a.jpg"})
    content.all["annotations"].append(dict(content.annotation))
    content.all["categories"].append(content.category | {"name": "shed"})
    message = content.get_error()
    assert "1 images have the same file_name as another: 'a.jpg'" in message
    assert "1 images have more than one annotation: image_id 5" in message
    assert "categories[1] ('shed') has the id 3, as 'barn' has" in message
    content.all = make_content()
    content.all["images"].append({"id": 5, "file_name": "b.jpg"})
    assert "1 images have the same id as another: 5" in content.get_error()


def test_the_same_image_as_number_and_as_text_is_annotated_twice(content):
    content.all["annotations"].append(content.annotation | {"image_id": "05"})
    assert "more than one annotation: image_id 5" in content.get_error()


def test_segments_have_ids_of_their_own_in_each_image(content):
    content.all["images"].append({"id": 6, "file_name": "b.jpg"})
    other = {"image_id": 6, "file_name": "b.png"}
    content.all["annotations"].append(content.annotation | other)
    read = content.load()
    assert read.annotations[5].segments == read.annotations[6].segments
    content.annotation["segments_info"].append(content.segment)
    message = content.get_error()
    assert "Image 5: segment 9 is listed more than once." in message


def test_a_category_that_is_listed_twice_alike_is_one(content):
    content.all["categories"].append(dict(content.category))
    check(content.load())


def test_paths_of_windows_are_read(content):
    content.image["file_name"] = r"val\a.jpg"
    content.annotation["file_name"] = r"val\a.png"
    read = content.load()
    assert read.images[5].file_name == "val/a.jpg"
    assert read.annotations[5].file_name == "val/a.png"


def test_entries_are_kept_in_order_and_cannot_be_changed(content):
    content.all["categories"].insert(0, {"id": 8, "name": "a"})
    read = content.load()
    assert list(read.categories) == [8, 3]
    with pytest.raises(AttributeError):
        read.categories[3].name = "b"


# Large files.


def test_segments_take_little_memory(tmp_path):
    path = tmp_path / "p.json"
    content = make_content()
    content["images"] = [
        {"id": i, "file_name": f"{i:06}.jpg", "height": 3, "width": 4}
        for i in range(3000)
    ]
    peaks = []
    for count in (1, 41):
        content["annotations"] = [
            {
                "image_id": i,
                "file_name": f"{i:06}.png",
                "segments_info": [
                    {"id": 65536 * k + 1, "category_id": 3, "area": 1000 + k}
                    for k in range(count)
                ],
            }
            for i in range(3000)
        ]
        path.write_text(json.dumps(content))
        tracemalloc.start()
        read = coco_json.load(path, LISTS)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(read.annotations[7].segments) == count
    # Bytes of a segment; `Segment` itself has 72, and its numbers 84.
    assert (peaks[1] - peaks[0]) / (3000 * 40) < 40


@pytest.mark.parametrize("order", list(itertools.permutations(LISTS)))
def test_lists_may_have_any_order(content, order):
    content.all = {
        "info": {"images": [1]},
        **{key: content.all[key] for key in order},
    }
    check(content.load())


def test_problems_are_listed_in_one_order(content):
    del content.image["file_name"], content.annotation["image_id"]
    messages = []
    for order in (LISTS, LISTS[::-1]):
        content.all = {key: content.all[key] for key in order}
        messages.append(content.get_error())
    assert messages[0] == messages[1]
    assert messages[0].index("images[0]") < messages[0].index("annotations[0]")


def test_an_optional_list_that_is_none_is_named(content):
    content.all["annotations"] = {"a": 1}
    content.path.write_text(json.dumps(content.all))
    with pytest.raises(errors.DataError, match="no list `annotations`, which"):
        coco_json.load(content.path, ["images"], ["annotations"])
