# SPDX-License-Identifier: Apache-2.0
import pytest

from deeplab2_like import errors
from deeplab2_like.recipes.forms import class_file
from deeplab2_like.recipes.forms.class_file import NamedClass


def load(folder, text):
    path = folder / "names.txt"
    path.write_text(text, encoding="utf-8")
    return class_file.load(path)


def test_numbers_with_names(tmp_path):
    assert load(tmp_path, "\ufeff# x\n7: car\n\n 3 : a: b \n") == [
        NamedClass("car", 7),
        NamedClass("a: b", 3),
    ]


def test_names_alone_are_numbered(tmp_path):
    assert load(tmp_path, "sky\ncar seat\n") == [
        NamedClass("sky", 0),
        NamedClass("car seat", 1),
    ]


def test_colors_as_cvat_writes_them(tmp_path):
    text = "# label:color_rgb:parts:actions\nbackground:0,0,0::\n7:1,2,3::\n"
    assert load(tmp_path, text) == [
        NamedClass("background", color=(0, 0, 0)),
        NamedClass("7", color=(1, 2, 3)),
    ]
    assert load(tmp_path, "a: (4, 5, 6)") == [NamedClass("a", color=(4, 5, 6))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no class"),
        ("# only\n", "names no class"),
        ("a: 1,2\n", "line 1 is 'a: 1,2'"),
        ("a: 1,2,300\n", "line 1 has the color 1,2,300. Colors are 0..255"),
        ("a: 1,2,3\n4: b", "some lines have colors"),
        ("3: a\n3: b", "1 classes have the number of another: 3"),
        ("a: 1,2,3\nb: 1,2,3", "the color of another"),
        ("a\na", "the name of another: 'a'"),
        (": 1,2,3", "line 1 is"),
        ("a\tb", "line 1 has characters that are not printed"),
    ],
)
def test_what_is_no_list_of_classes_is_refused(tmp_path, text, message):
    with pytest.raises(errors.DataError, match=message) as caught:
        load(tmp_path, text)
    assert "names.txt" in str(caught.value)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    (tmp_path / "names.txt").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "names.txt"):
        with pytest.raises(errors.DataError, match="cannot be read"):
            class_file.load(path)
