# SPDX-License-Identifier: Apache-2.0
"""data.yaml as Ultralytics and Roboflow write it."""

import pytest

from deeplab2_like import errors
from deeplab2_like.recipes.forms import data_yaml

FILES = {
    "ultralytics": """\
# Ultralytics
path: ../datasets/x # root
train: images/train
val:
  - images/val
  - "images/val # 2"
test: # optional
nc: 2
names:
  0: person
  1: 'traffic light'
download: |
  from x import y
  print("names")
""",
    "roboflow": """\
train: ../train/images
val: ../valid/images
nc: 3
names: ['a b', "c, d", 'it''s']
roboflow:
  workspace: mine
  names: other
""",
    "block": 'names:\n- car\n- "tree: big"\n- #3\n',
    "flow": "names: {0: car, 7: tree}\nval: [a, b]\n",
    "words": "names: [no, 1.0, null]\n",
    "lines": "names: [car,\n  tree,\n  sky,\n]\n",
}


def load(folder, text):
    path = folder / "data.yaml"
    path.write_text(text, encoding="utf-8")
    return data_yaml.load(path)


@pytest.mark.parametrize(
    ("key", "names", "root", "places"),
    [
        (
            "ultralytics",
            {0: "person", 1: "traffic light"},
            "../datasets/x",
            {
                "train": ["images/train"],
                "val": ["images/val", "images/val # 2"],
                "test": [],
            },
        ),
        (
            "roboflow",
            {0: "a b", 1: "c, d", 2: "it's"},
            "",
            {"train": ["../train/images"], "val": ["../valid/images"]},
        ),
        ("flow", {0: "car", 7: "tree"}, "", {"val": ["a", "b"]}),
        ("lines", {0: "car", 1: "tree", 2: "sky"}, "", {}),
        ("words", {0: "no", 1: "1.0", 2: "null"}, "", {}),
    ],
)
def test_files_of_the_tools_are_read(tmp_path, key, names, root, places):
    found = load(tmp_path, FILES[key])
    assert found.names == names
    assert found.root == root
    assert found.places == places


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: x\n", "has no `names`"),
        ("names: 3\n", "`names` has no name"),
        ("names:\n", "`names` has no name"),
        ("nc: 3\nnames: [a, b]\n", "`nc` is 3, but `names` has 2"),
        ("names: [a, b\n", ":2: not YAML"),
        ("- a\n- b\n", "is no table"),
        ("", "is no table"),
        ("names: [a, [b]]\n", "has a list or a table in line 1"),
        ("names: {0: a, 0: b}\n", "has 0 twice"),
        ("names: " + "[" * 5000, "not YAML"),
        ("#" * (1 << 20) + "\nnames: [a]\n", "has 1048588 bytes"),
        ("names: [a, a]\n", "has 'a' twice"),
        ("names: {a: 1}\n", "has the key 'a', which is no number"),
        ("names:\n  - a\n  b: 1\n", ":3: not YAML"),
        (FILES["block"], "an empty one"),
    ],
)
def test_what_names_no_classes_is_refused(tmp_path, text, message):
    with pytest.raises(errors.DataError, match=message):
        load(tmp_path, text)
