# SPDX-License-Identifier: Apache-2.0
"""What stops a run before TensorFlow is imported."""

import json
import pathlib
import subprocess
import sys

import pytest

from deeplab2_like import config as config_lib
from deeplab2_like import errors
from deeplab2_like.trainer import model_folder, run_checks, run_options, runs

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_CONFIG = "scenes/panoptic_deeplab_mobilenet_v3_small_os16"


@pytest.fixture(name="folder", autouse=True)
def _folder(tmp_path, monkeypatch):
    """Returns the working directory, with files for records."""
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val"):
        (tmp_path / f"{split}-0").write_text("a record")
        monkeypatch.setenv(f"{split.upper()}_SET", f"{split}-*")
    return tmp_path


def _check(*overrides, mode="train", model_dir="run", **options):
    run_checks.check(
        config_lib.load(_CONFIG, overrides),
        model_dir,
        mode,
        run_options.RunOptions(**options),
    )


def _prepare(*overrides):
    config = config_lib.load(_CONFIG, overrides)
    model_folder.prepare("run", config.options, sha256=config.sha256)


def test_a_new_run_is_fine_and_nothing_is_made(folder):
    _check()
    _check(mode="train_and_eval")
    assert not (folder / "run").exists()


def test_a_folder_of_another_config_is_refused():
    _prepare("train_dataset_options { batch_size: 3 }")
    with pytest.raises(errors.CheckpointError, match="batch_size: was 3"):
        _check()
    _check(allow_config_change=True)


def test_a_folder_in_use_is_refused():
    _prepare()
    owner = {"host": "another-host", "process": 1, "since": "2020-01-01"}
    lock = pathlib.Path("run/training.lock")
    lock.write_text(json.dumps(owner))
    with pytest.raises(errors.CheckpointError, match="another-host, process 1"):
        _check()
    assert lock.exists()
    _check(mode="continuous_eval")


@pytest.mark.parametrize(
    ("task", "is_refused"),
    [
        ({"type": "worker", "index": 0}, True),
        ({"type": "worker", "index": 1}, False),
    ],
)
def test_the_first_worker_alone_looks_after_the_folder(
    monkeypatch, task, is_refused
):
    cluster = {"worker": ["a:1", "b:1"]}
    monkeypatch.setenv(
        "TF_CONFIG", json.dumps({"cluster": cluster, "task": task})
    )
    _prepare("train_dataset_options { batch_size: 3 }")
    if not is_refused:
        _check()
        return
    with pytest.raises(errors.CheckpointError, match="another config"):
        _check()


def test_a_chief_goes_before_the_first_worker(monkeypatch):
    cluster = {"chief": ["a:1"], "worker": ["b:1"]}
    task = {"type": "worker", "index": 0}
    monkeypatch.setenv(
        "TF_CONFIG", json.dumps({"cluster": cluster, "task": task})
    )
    _prepare("train_dataset_options { batch_size: 3 }")
    _check()


def test_a_path_below_a_file_is_refused(folder):
    (folder / "file").write_text("")
    with pytest.raises(errors.CheckpointError, match="file is a file"):
        _check(model_dir="file/run")


def test_a_start_that_does_not_exist_is_refused_until_the_run_has_its_own(
    folder,
):
    start = 'model_options { initial_checkpoint: "nowhere/ckpt-1" }'
    with pytest.raises(errors.CheckpointError, match="nowhere/ckpt-1"):
        _check(start)
    _prepare(start)
    (folder / "run" / "ckpt-5.index").write_text("")
    _check(start)


def test_nothing_to_evaluate_is_refused(folder):
    with pytest.raises(errors.CheckpointError, match="no checkpoint run"):
        _check(mode="eval")
    (folder / "run").mkdir()
    with pytest.raises(errors.CheckpointError, match="holds no checkpoint"):
        _check(mode="eval")
    _check(mode="continuous_eval")  # It waits.


def test_a_folder_that_tensorflow_reads_as_a_pattern_is_refused(folder):
    with pytest.raises(errors.ConfigError, match=r"^model_dir='run \[v1\]'"):
        runs.train(_CONFIG, "run [v1]")
    with pytest.raises(errors.ConfigError, match=r"'run\*' contains"):
        runs.evaluate("run*", _CONFIG)
    assert {path.name for path in folder.iterdir()} == {"train-0", "val-0"}


def test_refusals_import_no_tensorflow(folder):
    _prepare("train_dataset_options { batch_size: 3 }")
    code = (
        "import sys\n"
        "from deeplab2_like import errors\n"
        "from deeplab2_like.trainer import runs\n"
        f"config = {_CONFIG!r}\n"
        "for folder, mode in (('run', 'train'), ('run [v1]', 'train'),\n"
        "                     ('nowhere', 'eval'), ('~no-one/x', 'eval')):\n"
        "    try:\n"
        "        runs.run(config, folder, mode)\n"
        "    except errors.UserError as error:\n"
        "        print(error)\n"
        "assert not {'tensorflow', 'keras', 'orbit'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={
            "PYTHONPATH": str(_ROOT),
            "TRAIN_SET": "train-*",
            "VAL_SET": "val-*",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for part in ("another config", "run [v1]", "nowhere.index", "~no-one"):
        assert part in done.stdout
