# SPDX-License-Identifier: Apache-2.0
"""What stops a prediction before TensorFlow is imported."""

import pathlib
import subprocess
import sys

import pytest

from deeplab2_like import config as config_lib
from deeplab2_like import errors, predict
from deeplab2_like.exports import exported_model

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_INFO = exported_model.ExportInfo(
    experiment_name="none",
    checkpoint="run/ckpt-1",
    step=1,
    has_instances=True,
    max_pixels=100,
    canvas_size=None,
    jit_compile=False,
    compute_precision="float32",
    versions={},
    parity={},
)


@pytest.fixture(name="folder", autouse=True)
def _folder(tmp_path, monkeypatch):
    """Returns the working directory, with the description of a model alone."""
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "saved"
    model.mkdir()
    (model / exported_model.SAVED_MODEL_FILE).write_bytes(b"")
    options = config_lib.load(
        "scenes/panoptic_deeplab_mobilenet_v3_small_os16"
    ).options
    dataset = config_lib.load_dataset("scenes")
    exported_model.write(model, _INFO, options, dataset)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


@pytest.mark.parametrize(
    ("model", "inputs", "error", "message"),
    [
        ("saved", ["notes.txt"], errors.DataError, "notes.txt is not an image"),
        ("saved", ["notes.txt", "notes.txt"], errors.DataError, "not an image"),
        ("nowhere", ["notes.txt"], errors.ExportError, "is not a folder"),
        (
            "s [1]",
            ["notes.txt"],
            errors.ConfigError,
            r"s \[1\]. contains",
        ),
    ],
)
def test_nothing_is_loaded_for_what_cannot_be_predicted(
    folder, model, inputs, error, message
):
    with pytest.raises(error, match=message):
        predict.predict_files(model, inputs, "out")
    assert not (folder / "out").exists()


def test_a_run_without_a_checkpoint_is_refused(folder):
    run = folder / "run"
    run.mkdir()
    (run / "config.textproto").write_text("")
    with pytest.raises(errors.CheckpointError, match="holds no checkpoint"):
        predict.predict_files("run", ["notes.txt"], "out")
    with pytest.raises(errors.CheckpointError, match="There is no checkpoint"):
        predict.predict_files("run/ckpt-7", ["notes.txt"], "out")
    assert not (folder / "out").exists()


def test_the_program_refuses_without_tensorflow(folder):
    code = (
        "import sys\n"
        "from deeplab2_like.predict import main\n"
        "sys.argv = ['deeplab2-predict', '--model=~/saved', '--out=~/out',\n"
        "            'notes.txt']\n"
        "try:\n"
        "    main.cli()\n"
        "except SystemExit as error:\n"
        "    assert error.code == 3, error.code\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PYTHONPATH": str(_ROOT), "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("Error: notes.txt is not an image")
    assert len(done.stderr.splitlines()) == 1
    assert not (folder / "~").exists()
