# SPDX-License-Identifier: Apache-2.0
"""The ledger, traces and compiled steps of whole runs."""

import json

import numpy as np
import pytest

from deeplab2_like import config, errors
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.trainer import run, run_options
from deeplab2_like.trainer.ledger import events, reading, sums

pytestmark = pytest.mark.slow


def _run(config_file, folder, mode, *overrides, **options):
    loaded = config.load(str(config_file), overrides)
    run.run_experiment(
        loaded, str(folder), mode, run_options.RunOptions(**options)
    )


def test_a_run_and_its_continuation_have_each_second_in_one_row(
    config_file, tmp_path
):
    _run(config_file, tmp_path, "train_and_eval", profile_steps="1:3")
    more = "trainer_options { solver_options { training_number_of_steps: 6 } }"
    _run(config_file, tmp_path, "train", more)
    lines = (tmp_path / events.FILE).read_text().splitlines()
    kinds = [json.loads(line)["event"] for line in lines]
    assert kinds.count("start") == kinds.count("stop") == 2
    assert kinds.count("first_step") == kinds.count("restore") == 2
    assert kinds.count("evaluation") == 1
    assert kinds.count("save") == 3  # Steps 2, 4 and 6.
    (ledger,) = reading.read_run(str(tmp_path))
    assert [attempt.reason for attempt in ledger.attempts] == ["finished"] * 2
    found = sums.sum_up([ledger])
    total = found.productive_seconds + sum(found.lost_seconds.values())
    assert total == pytest.approx(found.wall_seconds, rel=0.01)
    assert all(seconds >= -1e-3 for seconds in found.lost_seconds.values())
    assert (found.steps, found.last_step) == (6, 6)
    assert found.lost_seconds["done_twice"] == 0
    assert found.has_input_wait
    assert list((tmp_path / "train").glob("plugins/profile/*/*.xplane.pb"))


def test_a_compiled_step_trains_as_an_uncompiled_one(config_file, tmp_path):
    comparable = (
        "model_options { decoder { aspp_use_only_1x1_proj_conv: true } } "
        "trainer_options { deterministic: true "
        'solver_options { optimizer: "sgd" base_learning_rate: 0.0001 } }'
    )
    compiled = "trainer_options { compile_step: true }"
    changes = []
    for name, overrides in (("a", ()), ("b", (compiled,))):
        folder = tmp_path / name
        _run(config_file, folder, "train", comparable, *overrides)
        middle, end = (
            checkpoint_files.read_checkpoint(f"{folder}/ckpt-{step}")
            for step in (2, 4)
        )
        assert middle.keys() == end.keys()
        changes.append(
            {
                name: end[name] - middle[name]
                for name in end
                if name.startswith("variables/")
            }
        )
    assert changes[0].keys() == changes[1].keys()
    for name, change in changes[0].items():
        np.testing.assert_allclose(
            changes[1][name],
            change,
            atol=0.02 * np.abs(change).max() + 1e-6,
            err_msg=name,
        )
    uncompiled, found = (
        np.concatenate([change.ravel() for change in values.values()])
        for values in changes
    )
    # One that does not move differs by 1.
    share = np.linalg.norm(found - uncompiled) / np.linalg.norm(uncompiled)
    print(f"changes differ by {share:.2g}")
    assert share <= 0.02


def test_a_compiled_step_without_a_finite_loss_stops_after_its_loop(
    config_file, tmp_path
):
    wild = (
        "trainer_options { compile_step: true solver_options { "
        'optimizer: "sgd" base_learning_rate: 1e30 } }'
    )
    with pytest.raises(errors.TrainingError, match="not a finite number"):
        _run(config_file, tmp_path, "train", wild)
    assert not checkpoint_files.list_checkpoints(str(tmp_path))
