# SPDX-License-Identifier: Apache-2.0
"""Weights of classes that a run counts from its training records."""

import io
import json
import shutil

import numpy as np
import pytest
import rich.console

from deeplab2_like import config, errors
from deeplab2_like.console import progress
from deeplab2_like.data import class_pixels
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.protos import trainer_pb2
from deeplab2_like.trainer import class_balance, run, run_options

_Loss = trainer_pb2.LossOptions.SingleLossOptions
_BALANCE = (
    "trainer_options { loss_options { semantic_loss { "
    "balance: MEDIAN_FREQUENCY max_class_weight: 30 } } }"
)
_DATA = descriptor_lib.make(["ground", "sky"], ["tree", "car"])
_COUNTS = class_pixels.ClassPixels(
    np.array([700, 200, 60, 40]), np.array([1000, 500, 300, 400]), 800, 10
)


@pytest.fixture
def report():
    """Returns a display whose text is `report.console.file.getvalue()`."""
    console = rich.console.Console(file=io.StringIO(), width=200)
    return progress.Progress(console)


@pytest.fixture(autouse=True)
def _own_records(scene_records, tmp_path, monkeypatch, config_file):
    """Copies the records, so that no other test counts them."""
    del config_file
    folder = tmp_path / "records"
    shutil.copytree(scene_records, folder)
    monkeypatch.setenv("TRAIN_SET", f"{folder}/train-*")
    monkeypatch.setenv("VAL_SET", f"{folder}/val-*")


def _resolve(config_file, model_dir, report, *overrides, trains=True):
    options = config.load(str(config_file), overrides).options
    model_dir.mkdir(exist_ok=True)
    return class_balance.resolve(
        options, str(model_dir), report, trains=trains, writes=trains
    )


def _weights(options):
    return list(
        options.trainer_options.loss_options.semantic_loss.class_weights
    )


def test_weights_follow_from_the_records_and_stay_with_the_run(
    config_file, tmp_path, report
):
    folder = tmp_path / "run"
    resolved = _resolve(config_file, folder, report, _BALANCE)
    weights = _weights(resolved)
    descriptor = descriptor_lib.load("scenes")
    assert len(weights) == descriptor.num_classes
    assert max(weights) <= 30
    loss = resolved.trainer_options.loss_options.semantic_loss
    assert not loss.HasField("balance")
    content = json.loads((folder / class_balance.WEIGHTS_FILE).read_text())
    assert content["num_images"] == 8
    pixels = np.array(content["pixels"])
    rare, common = np.argmin(np.where(pixels, pixels, 1e9)), np.argmax(pixels)
    assert weights[rare] > 1 > weights[common]
    said = report.console.file.getvalue()
    assert "Counting the pixels of classes" in said
    assert "Weights of classes by MEDIAN_FREQUENCY, from 8 images: " in said
    # The records may move or go: the run keeps its loss.
    shutil.rmtree(tmp_path / "records")
    for trains in (True, False):
        again = _resolve(config_file, folder, report, _BALANCE, trains=trains)
        assert _weights(again) == weights


def test_another_balance_is_counted_anew(config_file, tmp_path, report):
    folder = tmp_path / "run"
    first = _weights(_resolve(config_file, folder, report, _BALANCE))
    other = _BALANCE.replace("MEDIAN", "INVERSE")
    assert _weights(_resolve(config_file, folder, report, other)) != first


def test_an_evaluation_without_records_has_no_weights_and_says_so(
    config_file, tmp_path, report
):
    shutil.rmtree(tmp_path / "records")
    arguments = (config_file, tmp_path / "run", report, _BALANCE)
    assert _weights(_resolve(*arguments, trains=False)) == []
    assert "has no weights of classes here" in report.console.file.getvalue()
    with pytest.raises(errors.DataError, match="matches no file"):
        _resolve(*arguments)


def test_options_without_a_balance_are_not_touched(
    config_file, tmp_path, report
):
    options = config.load(str(config_file)).options
    resolved = class_balance.resolve(
        options, str(tmp_path), report, trains=True, writes=True
    )
    assert resolved is options
    assert not report.console.file.getvalue()


@pytest.mark.parametrize("balance", [_Loss.INVERSE_FREQUENCY, 2])
def test_things_of_one_channel_count_as_one_class(balance):
    loss = _Loss(balance=balance, max_class_weight=100)
    apart = class_balance.compute_weights(_COUNTS, _DATA, loss, False)
    together = class_balance.compute_weights(_COUNTS, _DATA, loss, True)
    assert apart[2] != apart[3]
    assert together[2] == together[3]
    if balance == _Loss.INVERSE_FREQUENCY:
        expected = 1000 / 3 / np.array([700, 200, 100, 100])
    else:
        frequency = np.array([0.7, 0.4, 100 / 800, 100 / 800])
        expected = 0.4 / frequency
    np.testing.assert_allclose(together, expected)


def test_classes_that_do_not_occur_are_named_where_they_were_counted(
    config_file, report, tmp_path
):
    options = config.load(str(config_file), [_BALANCE]).options
    assert not class_balance.list_absence_warnings(options, "train_and_eval")
    _resolve(config_file, tmp_path / "run", report, _BALANCE)
    descriptor = descriptor_lib.load("scenes")
    paths = sorted(map(str, (tmp_path / "records").glob("train-*")))
    counts = class_pixels.load_counts(paths, descriptor)
    counts.pixels[[2, 5]] = 0
    halves = {path: class_pixels.ClassPixels.empty(9) for path in paths}
    halves[paths[0]] = counts
    class_pixels.store_counts(halves, descriptor)
    (warning,) = class_balance.list_absence_warnings(options, "train_and_eval")
    names = [descriptor.class_names[index] for index in (2, 5)]
    assert "2 of 9 classes do not occur" in warning
    assert f'"{names[0]}", "{names[1]}"' in warning
    assert "nothing is learned" in warning
    assert not class_balance.list_absence_warnings(options, "eval")


@pytest.mark.slow
@pytest.mark.parametrize("way", [_BALANCE, "class_weight { name: 'car' }"])
def test_a_run_trains_continues_and_evaluates_with_weights(
    config_file, tmp_path, way
):
    if way != _BALANCE:
        way = (
            "trainer_options { loss_options { learn_weights: true "
            "semantic_loss { top_k_percent: 0.2 "
            "class_weight { name: 'car' weight: 3 } } } }"
        )
    folder = tmp_path / "run"
    losses = []
    for steps in (2, 4):
        override = (
            "trainer_options { solver_options { "
            f"training_number_of_steps: {steps} }} }}"
        )
        loaded = config.load(str(config_file), [way, override])
        run.run_experiment(
            loaded,
            str(folder),
            "train",
            run_options.RunOptions(allow_config_change=True),
            on_step=lambda _, values: losses.append(values),
        )
    assert len(losses) == 2
    assert all(np.isfinite(list(values.values())).all() for values in losses)
    plain = config.load(str(config_file), [way])
    found = run.run_experiment(plain, str(folder), "eval")["summaries"]
    assert np.isfinite(found["losses/eval_semantic_loss"])
