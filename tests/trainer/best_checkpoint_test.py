# SPDX-License-Identifier: Apache-2.0
"""The best checkpoint of a run: which one it is; it is always whole."""

import json
import math
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.checkpoints import best
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.config import run_config
from deeplab2_like.predict import panoptic_model
from deeplab2_like.trainer import (
    best_checkpoint,
    checkpoint_manager,
    light_checkpoints,
    run_checks,
)


class Run:
    """A model folder whose checkpoints have the step as their only weight."""

    def __init__(self, folder, keeps_optimizer=True):
        self.folder = folder
        self.best_folder = folder / "best"
        self.lines = []
        self._step = tf.Variable(0, dtype=tf.int64)
        self._weight = tf.Variable(0.0)
        state = {
            "variables": {"w": self._weight},
            "optimizer": {"w_momentum": tf.Variable(1.0)},
            "average": {"w": tf.Variable(5.0)},
        }
        self._manager = checkpoint_manager.make_manager(
            str(folder),
            state,
            self._step,
            checkpoint_manager.SaveOptions(keep=1, interval_steps=1),
        )
        self.best = best_checkpoint.BestCheckpoint(
            str(folder), keeps_optimizer=keeps_optimizer, log=self.lines.append
        )

    def save(self, step):
        self._step.assign(step)
        self._weight.assign(step)
        return self._manager.save(step)

    def evaluate(self, step, value, metric="evaluation/pq/PQ"):
        prefix = self.save(step)
        summaries = {metric: value, "evaluation/iou/IoU": 0.5}
        self.best.offer({"summaries": summaries}, prefix, step)

    def find_best(self):
        """Returns the step of the best checkpoint, all of which is read."""
        prefix = checkpoint_files.find_checkpoint(str(self.best_folder))
        values = checkpoint_files.read_checkpoint(prefix)
        assert float(values["variables/w"]) == int(values["global_step"])
        return int(values["global_step"])

    def list_names(self):
        return sorted(path.name for path in self.best_folder.iterdir())


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "run")


def test_only_a_higher_score_replaces_the_best(run):
    for step, value in ((2, 0.25), (4, 0.5), (6, 0.5), (8, 0.125)):
        run.evaluate(step, value)
    assert run.find_best() == 4
    # Older ones of the run are gone, of one checkpoint at most.
    assert not (run.folder / "ckpt-4.index").exists()
    assert run.list_names() == [
        "ckpt-4.data-00000-of-00001",
        "ckpt-4.index",
        "score.json",
    ]
    assert json.loads((run.best_folder / "score.json").read_text()) == {
        "step": 4,
        "metric": "PQ",
        "value": 0.5,
        "checkpoint": "ckpt-4",
        "steps_without_gain": [6, 8],
    }
    assert "Best so far: PQ 0.5000 at step 4" in run.lines[1]
    run.evaluate(10, 0.625)
    assert run.find_best() == 10
    assert best.read_score(run.best_folder).steps_without_gain == ()


def test_another_process_goes_on_with_the_stored_score(run):
    run.evaluate(2, 0.5)
    again = Run(run.folder)
    again.best.prepare()
    assert again.lines == [
        f"Best so far: PQ 0.5000 at step 2, in {run.best_folder}"
    ]
    again.evaluate(4, 0.375)
    assert again.find_best() == 2


def test_without_panoptic_quality_the_mean_iou_counts():
    results = {"summaries": {"evaluation/iou/IoU": 0.25}}
    assert best_checkpoint.find_score(results) == ("mIoU", 0.25)
    results["summaries"]["evaluation/pq/PQ"] = 0.125
    assert best_checkpoint.find_score(results) == ("PQ", 0.125)
    results["summaries"]["evaluation/pq/PQ"] = math.nan
    assert best_checkpoint.find_score(results) is None
    assert best_checkpoint.find_score({}) is None


def test_a_score_that_is_not_defined_changes_nothing(run):
    run.evaluate(2, math.nan)
    assert not run.best_folder.exists()
    run.evaluate(4, 0.25)
    run.evaluate(6, math.nan)
    assert run.find_best() == 4
    assert best.read_score(run.best_folder).steps_without_gain == ()
    assert "has no score" in run.lines[-1]


def test_a_score_of_another_kind_is_not_compared(run):
    run.evaluate(2, 0.5)
    prefix = run.save(4)
    results = {"summaries": {"evaluation/iou/IoU": 0.25}}
    run.best.offer(results, prefix, 4)
    assert run.find_best() == 4
    assert best.read_score(run.best_folder).metric == "mIoU"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"step": "4", "metric": "PQ", "value": 0.5}',
        '{"step": -1, "metric": "PQ", "value": 0.5}',
        '{"step": 4, "metric": "PQ", "value": null}',
        '{"step": 4, "metric": "PQ", "value": NaN}',
        '{"step": 4, "metric": 3, "value": 0.5}',
        '{"step": 4, "metric": "PQ", "value": 0.5, "steps_without_gain": 3}',
    ],
)
def test_a_damaged_score_is_one_sentence_and_the_next_one_is_the_first(
    run, text
):
    run.evaluate(4, 0.75)
    file = run.best_folder / "score.json"
    file.write_text(text)
    assert run.find_best() == 4
    run.lines.clear()
    run.best.prepare()
    assert len(run.lines) == 1
    assert f"{file} is damaged (" in run.lines[0]
    assert run.best.describe_stop(1, 4) == ""
    assert run.find_best() == 4
    run.evaluate(6, 0.25)
    assert run.find_best() == 6
    assert len(run.lines) == 2
    assert not (run.best_folder / "ckpt-4.index").exists()


_STOPPED = (
    "evaluations in a row were not better than PQ 0.5000 at step 4, whose "
    "checkpoint is in "
)


def test_training_stops_after_enough_evaluations_without_a_gain(run):
    for step, value in ((2, 0.25), (4, 0.5), (6, 0.375), (8, 0.5)):
        run.evaluate(step, value)
        assert run.best.describe_stop(3, step) == ""
        assert run.best.describe_stop(0, step) == ""
    reason = run.best.describe_stop(2, 8)
    assert reason.startswith("Stopped early at step 8: 2 evaluations in a row")
    assert f"{_STOPPED}{run.best_folder}. Raise" in reason
    # Another process counts on; steps that are done again count once.
    again = Run(run.folder)
    assert again.best.describe_stop(2, 8) == reason
    assert again.best.describe_stop(2, 6) == ""
    again.evaluate(6, 0.25)
    assert again.best.describe_stop(2, 6) == ""
    again.evaluate(8, 0.25)
    assert again.best.describe_stop(2, 8) == reason
    assert again.best.describe_stop(3, 8) == ""
    again.evaluate(10, 0.75)
    assert again.best.describe_stop(1, 10) == ""


class KilledError(BaseException):
    """No file is changed after it."""


_CHANGES = [
    (os, "link"),
    (shutil, "copyfile"),
    (shutil, "rmtree"),
    (pathlib.Path, "replace"),
    (pathlib.Path, "rename"),
    (pathlib.Path, "unlink"),
    (pathlib.Path, "mkdir"),
    (pathlib.Path, "open"),
]


def _kill_at(patch, number):
    """Lets all but the first `number` changes of files fail."""
    left = [number]

    def guard(function):
        def call(*args, **kwargs):
            is_change = function.__name__ != "open" or "r" not in (
                args[1] if len(args) > 1 else "r"
            )
            if is_change:
                left[0] -= 1
                if left[0] < 0:
                    raise KilledError
            return function(*args, **kwargs)

        return call

    for owner, name in _CHANGES:
        patch.setattr(owner, name, guard(getattr(owner, name)))


@pytest.mark.parametrize("has_old", [True, False])
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_best(tmp_path, has_old):
    found = []
    for number in range(40):
        run = Run(tmp_path / f"{number}")
        run.folder.mkdir(exist_ok=True)
        (run.folder / "config.textproto").write_text("")
        if has_old:
            run.evaluate(2, 0.25)
        prefix = run.save(4)
        results = {"summaries": {"evaluation/pq/PQ": 0.5}}
        is_killed = False
        with pytest.MonkeyPatch.context() as patch:
            _kill_at(patch, number)
            try:
                run.best.offer(results, prefix, 4)
            except KilledError:
                is_killed = True
        if not has_old and not run.best_folder.exists():
            found.append(0)
        else:
            found.append(run.find_best())
            assert best.read_score(run.best_folder).step == found[-1]
        after = Run(run.folder)
        after.best.prepare()
        if after.best_folder.exists():
            assert after.find_best() == found[-1]
            indices = [n for n in after.list_names() if n.endswith(".index")]
            assert indices == [f"ckpt-{found[-1]}.index"]
        after.evaluate(6, 0.75)
        assert after.find_best() == 6
        if not is_killed:
            break
    assert not is_killed
    assert len(found) > 5
    assert found == sorted(found)
    assert set(found) == ({2, 4} if has_old else {0, 4})


def test_a_failure_to_copy_is_one_line(run, monkeypatch):
    run.evaluate(2, 0.25)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", fail)
    monkeypatch.setattr(shutil, "copyfile", fail)
    run.evaluate(4, 0.5)
    assert "could not be kept" in run.lines[-1]
    assert "No space left" in run.lines[-1]
    assert run.find_best() == 2


def test_disks_without_links_get_copies(run, monkeypatch):
    def fail(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", fail)
    run.evaluate(2, 0.25)
    assert run.find_best() == 2


def test_the_optimizer_is_left_out_where_older_checkpoints_have_none(tmp_path):
    run = Run(tmp_path / "light", keeps_optimizer=False)
    run.evaluate(2, 0.25)
    assert run.find_best() == 2
    prefix = checkpoint_files.find_checkpoint(str(run.best_folder))
    names = checkpoint_files.list_names(prefix)
    assert set(names) == {"variables/w", "average/w", "global_step"}
    whole = Run(tmp_path / "whole")
    whole.evaluate(2, 0.25)
    light_checkpoints.lighten_all([str(whole.folder / "ckpt-2")])
    prefix = checkpoint_files.find_checkpoint(str(whole.best_folder))
    assert "optimizer/w_momentum" in checkpoint_files.list_names(prefix)


def test_a_folder_of_somebody_else_is_left_alone(run):
    run.best_folder.mkdir(parents=True)
    (run.best_folder / "ckpt-3.index").write_text("mine")
    run.evaluate(2, 0.25)
    assert "there is something else" in run.lines[-1]
    assert run.list_names() == ["ckpt-3.index"]
    with pytest.raises(errors.CheckpointError, match="Rename it"):
        best.check_usable(str(run.folder))
    best.check_usable(str(run.folder / "new"))


def test_training_in_the_folder_of_the_best_is_refused(run):
    run.evaluate(2, 0.25)
    with pytest.raises(errors.CheckpointError, match="copy it to a folder"):
        best.check_trainable(str(run.best_folder))
    best.check_trainable(str(run.folder))
    copy = run.folder.parent / "copy"
    shutil.copytree(run.best_folder, copy)
    best.check_trainable(str(copy))
    checkpoint_files.check_state_file(str(copy))
    checkpoint_files.repair_state_file(str(copy))
    again = Run(copy)
    again.save(8)
    assert checkpoint_files.find_checkpoint(str(copy)).endswith("ckpt-8")


def test_the_best_is_a_model_folder_of_its_own(tiny_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder)
    dataset = folder / "eval_mine.textproto"
    dataset.write_text("")
    config = folder / "config.textproto"
    text = config.read_text()
    head, _, tail = text.rpartition('dataset: "scenes"')
    config.write_text(f'{head}dataset: "eval_mine.textproto"{tail}')
    lines = []
    kept = best_checkpoint.BestCheckpoint(
        str(folder), keeps_optimizer=True, log=lines.append
    )
    results = {"summaries": {"evaluation/pq/PQ": 0.5}}
    kept.offer(results, str(folder / "ckpt-7"), 7)
    assert (folder / "best" / "eval_mine.textproto").exists()
    config.write_text(text)
    (folder / "best" / "config.textproto").write_text(text)
    loaded = run_config.load_checked(str(folder / "best"))
    assert loaded.options.experiment_name == "tiny"
    a = panoptic_model.load_model(folder / "best")
    b = panoptic_model.load_model(folder)
    assert a.step == b.step == 7
    for x, y in zip(a.network.weights, b.network.weights, strict=True):
        np.testing.assert_array_equal(x.numpy(), y.numpy())
    assert run_checks.presence.may_hold(str(folder / "best"))
