# SPDX-License-Identifier: Apache-2.0
"""Runs that go wrong in the middle: nothing of the user's is lost."""

import subprocess

import numpy as np
import pytest

from deeplab2_like import config, errors
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.trainer import run


def _run(config_file, folder, *overrides):
    loaded = config.load(str(config_file), overrides)
    return run.run_experiment(loaded, str(folder), "train")


@pytest.mark.slow
def test_a_run_that_diverges_keeps_only_finite_checkpoints(
    config_file, tmp_path
):
    folder = tmp_path / "run"
    with pytest.raises(errors.TrainingError) as info:
        _run(
            config_file,
            folder,
            "trainer_options { solver_options { base_learning_rate: 1e30 "
            "training_number_of_steps: 8 } save_checkpoints_steps: 2 }",
        )
    text = str(info.value)
    for part in ("step", "learning rate 8.8", "center_loss", "train_00"):
        assert part in text
    for prefix in checkpoint_files.list_checkpoints(str(folder)):
        for name, value in checkpoint_files.read_checkpoint(prefix).items():
            if value.dtype.kind == "f":
                assert np.isfinite(value).all(), (prefix, name)
    assert not (folder / "training.lock").exists()


def _mount(folder, options):
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk that holds one checkpoint, not two."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        _mount(folder, "size=18m")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_stops_the_run_and_more_space_continues_it(
    config_file, small_disk
):
    folder = small_disk / "run"
    with pytest.raises(errors.CheckpointError, match=r"is full \(\d+ bytes"):
        _run(config_file, folder)
    kept = checkpoint_files.list_checkpoints(str(folder))
    assert kept
    assert not kept[-1].endswith("ckpt-4")
    checkpoint_files.read_checkpoint(kept[-1])
    _mount(small_disk, "remount,size=100m")
    _run(config_file, folder)
    kept = checkpoint_files.list_checkpoints(str(folder))
    assert kept[-1].endswith("ckpt-4")
