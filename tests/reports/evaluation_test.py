# SPDX-License-Identifier: Apache-2.0
"""Reading of eval/metrics.json, good and bad."""

import json

import pytest

from deeplab2_like import errors
from deeplab2_like.reports import evaluation


@pytest.fixture
def run(metrics, tmp_path):
    folder = tmp_path / "run"
    (folder / "eval").mkdir(parents=True)
    file = folder / "eval" / "metrics.json"
    file.write_text(json.dumps(metrics))
    return folder, file


def test_the_file_of_a_run_is_read(run):
    found = evaluation.load_evaluation(run[0])
    assert found.num_images == 12345
    assert found.groups["things"].pq == 0.4
    assert [c.name for c in found.classes] == ["road", "car", "bus"]
    assert found.classes[2].iou is None
    assert found.coco_sizes[2].below is None
    assert found.reliability.bins[5][2].precision == 0.7
    assert found.oracles[0].true_parts == ()


def test_a_file_of_an_evaluation_without_report_is_enough(run):
    folder, file = run
    metrics = json.loads(file.read_text())
    for key in ("object_sizes", "score_reliability", "oracles"):
        del metrics[key]
    file.write_text(json.dumps(metrics))
    found = evaluation.load_evaluation(folder)
    assert found.has_instances
    assert (found.coco_sizes, found.reliability, found.oracles) == (
        (),
        None,
        (),
    )


def test_a_run_that_was_not_evaluated_is_named(tmp_path):
    with pytest.raises(errors.ConfigError, match="Evaluate it first"):
        evaluation.load_evaluation(tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON"),
        ("[1]", "is a list, not an object"),
        ("{}", "lacks numbers"),
        ("\udcff", "is not JSON"),
    ],
)
def test_a_damaged_file_is_named(run, text, sentence):
    folder, file = run
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(errors.DataError, match=sentence):
        evaluation.load_evaluation(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("summaries", {}),
        ("num_images", "many"),
        ("classes", [1]),
        ("confusion", None),
        ("images", [{"PQ": 1}]),
        ("oracles", [{}]),
        ("score_reliability", {"bins": []}),
    ],
)
def test_wrong_contents_are_refused_in_a_sentence(run, key, value):
    folder, file = run
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(errors.DataError, match="evaluate that run again"):
        evaluation.load_evaluation(folder)
