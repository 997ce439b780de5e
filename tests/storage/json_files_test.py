# SPDX-License-Identifier: Apache-2.0
import json
import math
import pathlib
import re

import numpy as np
import pytest

from deeplab2_like.storage import json_files

_PACKAGE = pathlib.Path(json_files.__file__).parents[1]


def _refuse(name):
    raise AssertionError(f"{name} is no JSON")


def _load(text):
    return json.loads(text, parse_constant=_refuse)


def test_numbers_that_json_lacks_become_null_at_any_depth(tmp_path):
    content = {
        "nan": math.nan,
        "numpy": np.float32("nan"),
        "deep": [{"infinite": (math.inf, -math.inf, 1.5)}],
        "array": np.array([[1.0, np.nan], [np.inf, 2.0]]),
        "none": np.array([], np.int64),
    }
    expected = {
        "nan": None,
        "numpy": None,
        "deep": [{"infinite": [None, None, 1.5]}],
        "array": [[1.0, None], [None, 2.0]],
        "none": [],
    }
    json_files.write_json(tmp_path / "new" / "a.json", content)
    assert _load((tmp_path / "new" / "a.json").read_text()) == expected
    assert _load(json_files.to_line(content)) == expected
    assert "\n" not in json_files.to_line(content)


def test_values_and_names_of_all_kinds_come_back():
    content = {
        'ü "x"\n': [True, None, -3, 1e-30, "é", []],
        7: {},
        "path": pathlib.Path("a/b"),
        "int": np.int64(2**40),
        "bool": np.bool_(True),
    }
    back = _load(json_files.to_text(content))
    assert back == {
        'ü "x"\n': [True, None, -3, 1e-30, "é", []],
        "7": {},
        "path": "a/b",
        "int": 2**40,
        "bool": True,
    }


def test_rows_of_numbers_stay_in_a_line():
    text = json_files.to_text({"rows": [[1, 2, 3], [4, 5, 6]]})
    assert " [1, 2, 3],\n" in text


def test_a_failed_write_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "a.json"
    json_files.write_json(path, {"good": 1})
    with pytest.raises(TypeError, match="JSON has no object"):
        json_files.write_json(path, {"bad": object()})
    assert json.loads(path.read_text()) == {"good": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_no_other_module_writes_json():
    """Modules that only quote or compare text may call `dumps`."""
    allowed = {
        "storage/json_files.py",
        "data/coco/descriptions.py",
        "testing/harness.py",
        # Tensors of clients, whose numbers that are not finite have a form.
        "server/open_inference.py",
        "server/tensor_json.py",
    }
    found = {
        path.relative_to(_PACKAGE).as_posix()
        for path in _PACKAGE.rglob("*.py")
        if re.search(r"\bjson\.dumps?\(", path.read_text(encoding="utf-8"))
    }
    assert found <= allowed
