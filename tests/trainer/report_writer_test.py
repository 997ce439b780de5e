# SPDX-License-Identifier: Apache-2.0
"""What a report collects, from label maps without a model."""

import json
import math
import types

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.metrics import panoptic_quality
from deeplab2_like.results import original_size
from deeplab2_like.storage import json_files
from deeplab2_like.trainer import (
    report_checks,
    report_statistics,
    report_writer,
    scores,
)

_DATASET = descriptor_lib.make(["road", "sky"], ["car", "<script>bus"])
_FACTS = {"experiment": "e", "step": 5, "checkpoint": "c", "data_set": "d"}


def _make_image(name, seed=0, has_instances=True):
    rng = np.random.default_rng(seed)
    true = np.zeros((40, 60), np.int32)
    true[:8] = 1000
    for instance in range(1, 5):
        y, x = rng.integers(0, 30, 2)
        true[y : y + 9, x : x + 9] = rng.integers(2, 4) * 1000 + instance
    predicted = np.roll(true, rng.integers(-4, 5), 1)
    ids = np.unique(predicted)
    return original_size.RestoredImage(
        name=name,
        image=rng.integers(0, 255, (40, 60, 3), np.uint8),
        true_panoptic=true,
        semantic=predicted // 1000,
        panoptic=predicted if has_instances else None,
        segments={"id": ids, "score": rng.random(len(ids))},
    )


def _evaluate(folder, num_images, has_instances=True, compare_with=""):
    """Evaluates drawn maps as `evaluation.Evaluator` does."""
    system = types.SimpleNamespace(
        descriptor=_DATASET, has_instances=has_instances, oracles=()
    )
    found = scores.Scores(system)
    writer = report_writer.ReportWriter(
        system,
        report_writer.ReportOptions(str(folder), compare_with=compare_with),
    )
    for index in range(num_images):
        image = _make_image(f"image <b>{index}", index, has_instances)
        writer.add_image(image, found.update(image))
    results = found.results() | writer.results()
    json_files.write_json(folder / "eval" / "metrics.json", _FACTS | results)
    return results, writer


def _read_tables(text, read_page):
    page = read_page(text)
    assert page.open == []
    return page.tables, json.loads(page.texts["script"][0])


@pytest.mark.parametrize("has_instances", [True, False])
def test_the_page_has_the_numbers_of_the_file(
    tmp_path, read_page, has_instances
):
    pytest.importorskip("jinja2")
    results, writer = _evaluate(tmp_path / "run", 15, has_instances)
    path = writer.write()
    assert path == str(tmp_path / "run" / "eval" / "report.html")
    text = (tmp_path / "run" / "eval" / "report.html").read_text()
    tables, data = _read_tables(text, read_page)
    assert data == json.loads((tmp_path / "run/eval/metrics.json").read_text())
    assert len(tables["images"]) == 15
    assert text.count('<img src="data:image/jpeg;base64,') == 4 * 12
    shown = [row[0] for row in tables["images"]]
    assert shown == [image["name"] for image in results["images"]]
    assert "<script>bus" not in text.replace("\\u003cscript", "")
    # Nothing unfinished is left beside it.
    files = {file.name for file in (tmp_path / "run" / "eval").iterdir()}
    assert files == {"metrics.json", "report.html"}


def test_images_of_two_runs_are_compared(tmp_path, read_page):
    pytest.importorskip("jinja2")
    _evaluate(tmp_path / "other", 9)
    other = str(tmp_path / "other")
    _, writer = _evaluate(tmp_path / "run", 12, compare_with=other)
    writer.write()
    text = (tmp_path / "run" / "eval" / "report.html").read_text()
    tables, _ = _read_tables(text, read_page)
    rows = tables["compared-images"]
    assert len(rows) == 12
    assert [row[3] for row in rows].count("0.0") == 9
    names = [row[0] for row in tables["compared-classes"]]
    assert names == ["all", "things", "stuff", *_DATASET.class_names]


def test_only_the_images_that_the_other_run_lists_are_remembered(tmp_path):
    _evaluate(tmp_path / "other", 3)
    _, writer = _evaluate(
        tmp_path / "run", 30, compare_with=str(tmp_path / "other")
    )
    assert len(writer._scores) == 3
    assert all(value is not None for value in writer._scores.values())


def test_the_statistics_are_those_of_the_metrics():
    statistics = report_statistics.ReportStatistics(
        _DATASET, oracles=[("semantic",)]
    )
    quality = panoptic_quality.PanopticQuality(_DATASET)
    for seed in range(5):
        image = _make_image("a", seed)
        statistics.add_image(image)
        quality.update(image.true_panoptic, image.panoptic)
        height, width = image.true_panoptic.shape
        batch = {
            "name": [b"a"],
            "image": image.image[None],
            "valid_size": [(height, width)],
            "original_size": [(height, width)],
            "panoptic": image.true_panoptic[None],
        }
        outputs = {
            "semantic": image.semantic[None],
            "segment_is_valid": np.zeros((1, 0), bool),
            "oracles": image.true_panoptic[None, None],
        } | {
            f"segment_{key}": np.zeros((1, 0))
            for key in ("id", "category", "score", "area")
        }
        statistics.add_oracles(batch, outputs)
    results = statistics.results()
    base, true_classes = results["oracles"]
    expected = quality.result()
    assert base["groups"]["all"]["PQ"] == expected.all.pq
    assert (base["true_parts"], true_classes["true_parts"]) == (
        [],
        ["semantic"],
    )
    assert true_classes["groups"]["all"]["PQ"] == pytest.approx(1.0)
    sizes = results["object_sizes"]["coco"]
    assert sum(part["tp"] for part in sizes) == expected.things.tp
    assert math.isnan(sizes[2]["PQ"])
    reliability = results["score_reliability"]
    assert sum(b["count"] for b in reliability["bins"]) == reliability["count"]
    assert reliability["count"] == expected.things.tp + expected.things.fp


def test_what_a_report_needs_is_checked_first(tmp_path, monkeypatch):
    with pytest.raises(errors.ConfigError, match="needs labels"):
        report_checks.check("", has_labels=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(errors.InstallError, match="Jinja2"):
        report_checks.check("", has_labels=True)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: True)
    report_checks.check("", has_labels=True)
    with pytest.raises(errors.ConfigError, match="Evaluate it first"):
        report_checks.check(str(tmp_path), has_labels=True)


def test_a_run_is_named_after_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert report_writer.name_run("runs/7/") == "7"
    assert report_writer.name_run(".") == tmp_path.name
