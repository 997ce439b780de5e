# SPDX-License-Identifier: Apache-2.0
"""Tables of segments are read, or refused in one sentence."""

import json

import pytest

from deeplab2_like import errors
from deeplab2_like.data.large import examples


def _write(path, rows):
    path.write_text(json.dumps({"segments": rows}))
    return str(path)


def test_tables_are_read(tmp_path, dataset):
    rows = [
        {"id": 7.0, "category_id": dataset.category_ids[2], "iscrowd": "0"},
        {"id": "3", "category_id": dataset.category_ids[3], "iscrowd": 1},
    ]
    found = examples.Segments(_write(tmp_path / "a.json", rows), dataset)
    assert found.ids.tolist() == [3, 7]
    assert found.classes.tolist() == [3, 2]
    assert found.is_crowd.tolist() == [True, False]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"id": 0}, "the id 0"),
        ({"id": 2**32}, "the id 4294967296"),
        ({"id": 1.5}, "must be an integer"),
        ({"id": float("inf")}, "must be an integer"),
        ({"id": True}, "must be an integer"),
        ({"id": None}, "must be an integer"),
        ({"id": 5}, "the segment 5 twice"),
        ({"category_id": 4711}, "category_id 4711"),
        ({"category_id": [1]}, "must be an integer"),
        ({"iscrowd": "some"}, "true or false"),
    ],
)
def test_damaged_tables_are_one_sentence(tmp_path, dataset, change, text):
    row = {"id": 5, "category_id": dataset.category_ids[0]}
    rows = [row, {**row, "id": 6, **change}]
    path = _write(tmp_path / "a.json", rows)
    with pytest.raises(errors.DataError, match=text) as caught:
        examples.Segments(path, dataset)
    assert path in str(caught.value)


@pytest.mark.parametrize("content", ["[]", "{}", "[3]", '{"segments": 3}'])
def test_other_files_are_no_tables(tmp_path, dataset, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(errors.DataError, match="no table of segments"):
        examples.Segments(str(tmp_path / "a.json"), dataset)
