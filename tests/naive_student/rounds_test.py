# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from deeplab2_like import config as config_lib
from deeplab2_like import errors
from deeplab2_like.naive_student import rounds
from deeplab2_like.trainer import run_options

pytest.importorskip("orbit")


def _load_weights(folder):
    """Returns the model's variables of the newest checkpoint, by name."""
    from deeplab2_like.checkpoints import files

    prefix = files.find_checkpoint(str(folder))
    keys = [key for key in files.list_keys(prefix) if "variables" in key]
    return {
        key: np.asarray(value)
        for key, value in files.read_values(prefix, keys).items()
    }


class _Stop:
    """Ends a run after a number of steps, as a kill does."""

    def __init__(self, count):
        self.left = count

    def __call__(self, *_):
        self.left -= 1
        if self.left == 0:
            raise SystemExit(75)


def _records(folder):
    return [path.read_bytes() for path in sorted(folder.rglob("pseudo-*"))]


@pytest.mark.slow
def test_rounds_that_are_stopped_anywhere_end_with_the_same_weights(
    rounds_config, tmp_path
):
    config = config_lib.parse(rounds_config)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    results = rounds.run(config, whole)
    assert list(results) == ["teacher", "round_1/student", "fine_tuned"]
    # In the teacher, in the student and after it.
    for count in (3, 4, 3):
        with pytest.raises(SystemExit):
            rounds.run(config, stopped, on_step=_Stop(count))
    rounds.run(config, stopped)
    assert _records(whole) == _records(stopped)
    assert len(_records(whole)) == 1
    for name in ("teacher", "round_1/student", "fine_tuned"):
        expected = _load_weights(whole / name)
        found = _load_weights(stopped / name)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value, err_msg=key)
    noted = json.loads((whole / rounds.STAGES_FILE).read_text())["stages"]
    assert all(entry["is_finished"] for entry in noted.values())
    steps = []
    rounds.run(config, whole, on_step=lambda *_: steps.append(1))
    assert steps == []  # All stages are finished.

    longer = config_lib.parse(
        rounds_config,
        ["trainer_options { solver_options { training_number_of_steps: 6 } }"],
    )
    with pytest.raises(errors.CheckpointError, match="made of another teacher"):
        rounds.run(longer, whole)


def test_a_config_without_rounds_and_a_missing_folder_are_refused(
    rounds_config, tmp_path, monkeypatch
):
    plain = config_lib.parse(
        rounds_config, ["semi_supervised { method: NONE }"]
    )
    with pytest.raises(errors.ConfigError, match="deeplab2-train"):
        rounds.run(plain, tmp_path / "runs")
    missing = config_lib.parse(
        rounds_config,
        [f"semi_supervised {{ unlabeled_pattern: '{tmp_path}/none' }}"],
    )
    with pytest.raises(errors.DataError, match="none does not exist"):
        rounds.run(missing, tmp_path / "runs")
    monkeypatch.setenv("TF_CONFIG", "{}")
    with pytest.raises(errors.ConfigError, match="TF_CONFIG"):
        rounds.run(config_lib.parse(rounds_config), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_the_trainer_names_the_program_for_rounds(rounds_config, tmp_path):
    from deeplab2_like.trainer import run_checks

    with pytest.raises(errors.ConfigError, match="deeplab2-naive-student"):
        run_checks.check(
            config_lib.parse(rounds_config),
            str(tmp_path),
            "train",
            run_options.RunOptions(),
        )
