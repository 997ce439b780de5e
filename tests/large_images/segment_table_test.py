# SPDX-License-Identifier: Apache-2.0
"""Tables of segments are read back as they were written."""

import json

import numpy as np
import pytest

from deeplab2_like.large_images import segment_table


@pytest.fixture(name="segments")
def _segments(drawn_results):
    return drawn_results.list_segments(drawn_results.draw(60, 80), stuff=(1,))


def test_a_json_table_has_a_row_for_each_segment(
    tmp_path, drawn_results, segments, monkeypatch
):
    monkeypatch.setattr(segment_table, "_ROWS", 4)
    path, dataset = tmp_path / "a.json", drawn_results.DATASET
    segment_table.write_json_table(path, segments, dataset, (60, 80), "a.tif")
    found = json.loads(path.read_text())
    assert found["image"] == {"file_name": "a.tif", "height": 60, "width": 80}
    names = {one["id"]: one["name"] for one in found["categories"]}
    assert len(found["segments"]) == len(segments) > 8
    ids_hw = drawn_results.draw(60, 80)
    for number, entry in enumerate(found["segments"]):
        y, x = np.nonzero(ids_hw == entry["id"])
        left, top, width, height = entry["bbox"]
        assert (top, left) == (y.min(), x.min())
        assert (top + height, left + width) == (y.max() + 1, x.max() + 1)
        assert entry["area"] == len(y)
        assert entry["isthing"] == int(entry["id"] != 1)
        assert names[entry["category_id"]] == (
            "ground" if entry["id"] == 1 else ["cell", "dot"][entry["id"] % 2]
        )
        assert np.float32(entry["score"]) == segments.score[number]


def test_a_parquet_table_has_the_same(tmp_path, drawn_results, segments):
    parquet = pytest.importorskip(
        "pyarrow.parquet", reason="pyarrow is not installed (extra parquet)"
    )
    path, dataset = tmp_path / "a.parquet", drawn_results.DATASET
    segment_table.write_parquet_table(path, segments, dataset)
    table = parquet.read_table(path)
    rows = table.to_pylist()
    expected = list(segment_table.describe_segments(segments, dataset))
    assert len(rows) == len(expected)
    for row, entry in zip(rows, expected, strict=True):
        assert row["id"] == entry["id"]
        assert row["category_id"] == entry["category_id"]
        assert (
            dataset.class_names[dataset.category_ids.index(row["category_id"])]
            == (row["category_name"])
        )
        assert row["is_thing"] == bool(entry["isthing"])
        assert row["area"] == entry["area"]
        left, top, width, height = entry["bbox"]
        assert (row["left"], row["top"]) == (left, top)
        assert (row["right"], row["bottom"]) == (left + width, top + height)
        assert row["score"] == np.float32(entry["score"])
    assert str(table.schema.field("id").type) == "uint32"


def test_single_segments_are_found_by_id(drawn_results, segments):
    dataset = drawn_results.DATASET
    known = segment_table.SegmentLookup(segments, dataset)
    for entry in segment_table.describe_segments(segments, dataset):
        assert known.find(entry["id"]) == entry
    np.testing.assert_array_equal(
        known.is_thing(segments.id), segments.is_thing
    )
