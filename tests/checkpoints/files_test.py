# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in folders whose names TensorFlow reads as patterns."""

import pathlib
import uuid

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.checkpoints import presence, writing


def _touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("")


@pytest.mark.parametrize(
    "name", ["run", "run (1)", "run [v1]", "run[12]", "run*", "run?", "r\\n"]
)
def test_the_checkpoints_of_a_folder_are_its_own(tmp_path, name):
    _touch(tmp_path / name, "ckpt-5.index", "ckpt-10.index", "best.index")
    _touch(tmp_path / "run1", "ckpt-7.index")
    folder = str(tmp_path / name)
    expected = [f"{folder}/ckpt-5", f"{folder}/ckpt-10"]
    assert checkpoint_files.list_checkpoints(folder) == expected
    assert checkpoint_files.list_checkpoints(f"{folder}/") == expected


@pytest.mark.parametrize("name", ["run [v1]", "run*", "run?"])
def test_a_checkpoint_that_tensorflow_cannot_find_is_refused(tmp_path, name):
    _touch(tmp_path / name, "ckpt-5.index")
    for path in (tmp_path / name, tmp_path / name / "ckpt-5"):
        for find in (checkpoint_files.find_checkpoint, presence.require):
            with pytest.raises(errors.ConfigError, match="contains '"):
                find(str(path))


def test_only_the_own_unfinished_checkpoints_are_deleted(tmp_path):
    for name in ("run*", "run2"):
        (tmp_path / name / "ckpt-5_temp").mkdir(parents=True)
    checkpoint_files.purge_unfinished(str(tmp_path / "run*"))
    assert not list((tmp_path / "run*").iterdir())
    assert list((tmp_path / "run2").iterdir())


def test_other_checkpoints_of_a_target_folder_are_seen_under_any_name(tmp_path):
    _touch(tmp_path / "to [1]", "ckpt-5.index")
    with pytest.raises(errors.CheckpointError, match="already holds"):
        writing.check_target(f"{tmp_path}/to [1]/", overwrite=False)


def test_what_has_no_checkpoint_is_refused_without_looking_closer(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(errors.CheckpointError, match="holds no checkpoint"):
        presence.require(str(tmp_path / "empty"))
    with pytest.raises(errors.CheckpointError, match="There is no checkpoint"):
        presence.require(str(tmp_path / "ckpt-5.index"))


@pytest.mark.parametrize(
    "path", ["run", "run/ckpt-5", "run/ckpt-5.index", "moved", "nets [1]/a.h5"]
)
def test_what_may_be_a_checkpoint_is_left_to_the_reader(
    tmp_path, monkeypatch, path
):
    monkeypatch.chdir(tmp_path)
    _touch(pathlib.Path("run"), "ckpt-5.index")
    _touch(pathlib.Path("moved"), "checkpoint")
    presence.require(path)
    presence.require("gs://bucket/run")


def test_a_checkpoint_at_an_address_is_read():
    # The file system of ram:// takes each beginning of a path for a folder.
    prefix = f"ram://{uuid.uuid4().hex}/run/ckpt-2"
    value = np.arange(3, dtype=np.float32)
    writing.write_checkpoint(prefix, {("variables", "a"): value})
    read = checkpoint_files.read_checkpoint(prefix)
    np.testing.assert_array_equal(read["variables/a"], value)
    assert checkpoint_files.list_names(prefix) == ["variables/a"]
