# SPDX-License-Identifier: Apache-2.0
"""Runs that are killed at random moments, a few times."""

import re

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import killed_runs
from deeplab2_like import errors


def _plan(folder, **options):
    values = {"workers": 1, "steps": 8, "interval": 4, "is_async": False}
    return killed_runs.Plan(folder, **{**values, **options})


def test_what_belongs_to_no_checkpoint_is_left_over(tmp_path):
    run = tmp_path / "run"
    (run / "worker_1" / "ckpt-8_temp").mkdir(parents=True)
    for name in ("ckpt-4.index", "ckpt-4.data-00000-of-00001", "checkpoint"):
        (run / name).touch()
    plan = _plan(tmp_path)
    assert plan.steps_saved("run") == [4]
    assert plan.leftovers("run") == ["run/worker_1/ckpt-8_temp"]
    for name in ("ckpt-8.data-00000-of-00001", "training.lock"):
        (run / name).touch()
    assert sorted(plan.leftovers("run"))[:2] == [
        "run/ckpt-8.data-00000-of-00001",
        "run/training.lock",
    ]


def _save(folder, values):
    checkpoint = tf.train.Checkpoint(
        **{f"v{i}": tf.Variable(value) for i, value in enumerate(values)}
    )
    checkpoint.write(str(folder / "ckpt-8"))


def test_weights_are_compared_bit_for_bit(tmp_path):
    one = [np.float32([1, 2]), np.float32([4])]
    _save(tmp_path / "undisturbed", one)
    _save(tmp_path / "killed", one)
    assert killed_runs.compare(_plan(tmp_path)) == (0, 3, 0.0)
    _save(tmp_path / "killed", [one[0], np.float32([3])])
    assert killed_runs.compare(_plan(tmp_path)) == (1, 3, 0.25)
    _save(tmp_path / "killed", one[:1])
    with pytest.raises(errors.CheckpointError, match="other variables"):
        killed_runs.compare(_plan(tmp_path))


@pytest.mark.parametrize(
    ("output", "saved"),
    [
        ("Continuing from runs/ckpt-4\n", 8),
        ("Training ...\n", 4),
        ("Continuing from runs/ckpt-4\n", 0),
    ],
)
def test_a_run_that_goes_on_from_another_step_is_a_failure(output, saved):
    with pytest.raises(errors.TrainingError, match=f"Step {saved} was saved"):
        killed_runs.check_continued(output, saved)
    killed_runs.check_continued("Continuing from runs/ckpt-4\n", 4)


@pytest.mark.slow
@pytest.mark.parametrize("is_async", [False, True])
def test_a_run_that_is_killed_ends_with_the_weights_of_one_that_is_not(
    tmp_path, capsys, is_async
):
    from deeplab2_like.scenes import records

    records.write_records(
        str(tmp_path), "train", 4, size=(65, 129), num_shards=2
    )
    plan = _plan(tmp_path, steps=24, interval=2, is_async=is_async)
    killed_runs.kill_often(plan, 2, seed=1)
    last = capsys.readouterr().out.strip().splitlines()[-1]
    kills = re.match(
        r"2 kills, (\d) of them after a checkpoint; the last start continued "
        r"from step (\d+)\. Values that differ: 0 of",
        last,
    )
    assert int(kills[1]) > 0
    assert int(kills[2]) > 0
    assert last.endswith("Left in the folder: nothing.")
