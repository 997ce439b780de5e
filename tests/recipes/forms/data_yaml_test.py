# SPDX-License-Identifier: Apache-2.0
"""data.yaml as Ultralytics and Roboflow write it, compared with PyYAML."""

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
    "lines": "names: [car,\n  tree,\n  sky,\n]\n",
}


def load(folder, text):
    path = folder / "data.yaml"
    path.write_text(text, encoding="utf-8")
    return data_yaml.load(path)


@pytest.mark.parametrize("key", ["ultralytics", "roboflow", "flow", "lines"])
def test_files_are_read_as_pyyaml_reads_them(tmp_path, key):
    yaml = pytest.importorskip("yaml")
    expected = yaml.safe_load(FILES[key])
    found = load(tmp_path, FILES[key])
    names = expected["names"]
    if isinstance(names, list):
        names = dict(enumerate(names))
    assert found.names == names
    assert found.root == expected.get("path", "")
    for split in ("train", "val"):
        value = expected.get(split) or []
        value = [value] if isinstance(value, str) else value
        assert found.places.get(split, []) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: x\n", "has no `names`"),
        ("names: 3\n", "`names` has no name"),
        ("names:\n", "`names` has no name"),
        ("nc: 3\nnames: [a, b]\n", "`nc` is 3, but `names` has 2"),
        ("names: [a, b\n", ":1: `names` does not end in the same way"),
        ("names: [a, a]\n", "has 'a' twice"),
        ("names: {a: 1}\n", "has 'a: 1', which is no number: name"),
        ("names:\n  - a\n  b\n", "has 'b' among lines with -"),
        (FILES["block"], "an empty one"),
    ],
)
def test_what_names_no_classes_is_refused(tmp_path, text, message):
    with pytest.raises(errors.DataError, match=message):
        load(tmp_path, text)
