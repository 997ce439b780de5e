# SPDX-License-Identifier: Apache-2.0
"""Lists of large images are read, or refused in one sentence."""

import json

import pytest

from deeplab2_like import errors
from deeplab2_like.data.large import lists


def test_entries_are_read(tmp_path):
    path = tmp_path / "a.large.json"
    entries = [
        {"image": "a.tif", "labels": "labels/a.zarr"},
        {
            "image": str(tmp_path / "b.tif"),
            "labels": "b.tif",
            "segments": "b.json",
            "channels": [4, 3, 2],
            "value_range": [0, 4095.5],
        },
        {"image": "only.tif"},
    ]
    path.write_text(json.dumps({"images": entries}))
    found = lists.load([str(tmp_path / "*.large.json")])
    assert found[0] == lists.LargeEntry(
        str(tmp_path / "a.tif"), str(tmp_path / "labels/a.zarr")
    )
    assert found[1].image == str(tmp_path / "b.tif")
    assert found[1].segments == str(tmp_path / "b.json")
    assert found[1].channels == (4, 3, 2)
    assert found[1].value_range == (0, 4095.5)
    assert found[2].labels == ""


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "is empty"),
        ("[]", "lists no images"),
        ('{"images": []}', "lists no images"),
        ('{"images": [3]}', "without an image"),
        ('{"images": [{"labels": "a"}]}', "without an image"),
        ('{"images": [{"image": "a", "label": "b"}]}', "has 'label'"),
        ('{"images": [{"image": 3}]}', "must be a path"),
        ('{"images": [{"image": "a", "channels": "1"}]}', "from 1"),
        ('{"images": [{"image": "a", "channels": [1.5]}]}', "from 1"),
        ('{"images": [{"image": "a", "channels": [1, 2]}]}', "from 1"),
        ('{"images": [{"image": "a", "channels": [0]}]}', "from 1"),
        ('{"images": [{"image": "a", "value_range": [1]}]}', "two numbers"),
        (
            '{"images": [{"image": "a", "value_range": [0, Infinity]}]}',
            "two numbers",
        ),
        (
            '{"images": [{"image": "a", "value_range": [0, %s]}]}' % 10**400,
            "two numbers",
        ),
        ('{"images": [{"image": "a", "value_range": [2, 1]}]}', "is first"),
    ],
)
def test_other_contents_are_one_sentence(tmp_path, content, text):
    path = tmp_path / "a.large.json"
    path.write_text(content)
    with pytest.raises(errors.DataError, match=text):
        lists.load([str(path)])


def test_lists_and_records_are_not_mixed(tmp_path):
    (tmp_path / "a.large.json").write_text("{}")
    with pytest.raises(errors.DataError, match="is of records"):
        lists.load([str(tmp_path / "a.large.json"), "a.tfrecord"])
    with pytest.raises(errors.DataError, match="matches no file"):
        lists.load([str(tmp_path / "b.large.json")])
