# SPDX-License-Identifier: Apache-2.0
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.exports import exported_model, main, parity


def _run(*arguments):
    """Runs the program in this process."""
    main._FLAGS.unparse_flags()
    for name in main._FLAGS:
        main._FLAGS[name].unparse()
    rest = main._FLAGS(["deeplab2-export", *map(str, arguments)])
    main._main(rest[1:])


@pytest.mark.usefixtures("_quick")
def test_flags_reach_the_export(tiny_run, tmp_path, capfd):
    photo = tmp_path / "photo.png"
    pixels = np.random.RandomState(0).randint(0, 255, (50, 60, 3), np.uint8)
    Image.fromarray(pixels).save(photo)
    out = tmp_path / "saved"
    _run(
        f"--model_dir={tiny_run}",
        f"--out={out}",
        "--max_pixels=123456",
        "--nowarmup",
        "--nocompact_signature",
        f"--parity_images={photo}",
        "--config_override=experiment_name: 'renamed'",
        "--batch_sizes=1,8",
    )
    info = exported_model.load_info(out)
    assert info.experiment_name == "renamed"
    assert info.max_pixels == 123456
    assert not info.jit_compile
    assert info.parity["images"] == 1
    assert info.batch_sizes == [1, 8]
    batching = (out / "batching_params.pbtxt").read_text()
    assert "allowed_batch_sizes: 8" in batching
    assert "`encoded_compact`" not in (out / "README.md").read_text()
    said = capfd.readouterr().err
    assert "step 7" in said
    assert f"deeplab2-predict --model={out}" in said


@pytest.mark.usefixtures("_quick")
def test_a_checkpoint_can_be_exported_without_its_run(
    tiny_run, tmp_path, monkeypatch
):
    good = parity.Parity(1, 1, 1, [])
    monkeypatch.setattr(parity, "compare", lambda *_, **__: good)
    _run(
        f"--config_file={tiny_run}/config.textproto",
        f"--checkpoint={tiny_run}/ckpt-7.index",
        f"--out={tmp_path}/saved",
    )
    assert exported_model.load_info(tmp_path / "saved").step == 7


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--model_dir=x"], errors.ConfigError, "--out is missing"),
        (["--out=x"], errors.ConfigError, "--model_dir is missing"),
        (["--out=x", "y"], errors.ConfigError, "Unexpected argument 'y'"),
        (
            ["--out=x", "--model_dir=nothing"],
            errors.CheckpointError,
            "nothing is not a model folder",
        ),
        (
            ["--out=x", "--model_dir=RUN", "--checkpoint=RUN/ckpt-8"],
            errors.CheckpointError,
            "no checkpoint .*ckpt-8",
        ),
        (
            ["--out=x", "--config_file=RUN/config.textproto"],
            errors.ConfigError,
            "--checkpoint is missing",
        ),
        (
            ["--out=x", "--model_dir=RUN", "--max_pixels=0"],
            errors.ConfigError,
            "--max_pixels=0 allows no image",
        ),
        (
            ["--out=x", "--model_dir=RUN", "--canvas_size=64,64"],
            errors.ConfigError,
            "take 49 or 65",
        ),
        (
            ["--out=x", "--model_dir=RUN", "--canvas_size=65x129,65"],
            errors.ConfigError,
            "'65', which is not a size",
        ),
        (
            ["--out=x", "--model_dir=RUN", "--batch_sizes=1,many"],
            errors.ConfigError,
            "--batch_sizes=1,many are not numbers",
        ),
        (
            ["--out=x", "--model_dir=RUN", "--batch_sizes=0"],
            errors.ConfigError,
            "--batch_sizes has 0. Allowed are 1 to",
        ),
        (
            ["--out=x", "--model_dir=RUN", "--parity_images=nothing.png"],
            errors.DataError,
            "nothing.png does not exist",
        ),
        (
            ["--out=x", "--model_dir=RUN", "--config_override=modell_options"],
            errors.ConfigError,
            "modell_options",
        ),
    ],
)
def test_wrong_command_lines_are_one_sentence(
    tiny_run, tmp_path, monkeypatch, arguments, error, message
):
    monkeypatch.chdir(tmp_path)
    arguments = [text.replace("RUN", str(tiny_run)) for text in arguments]
    with pytest.raises(error, match=message):
        _run(*arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_program_exports_what_predicts(tiny_run, tmp_path):
    code = "from deeplab2_like.exports.main import cli; cli()"
    out = tmp_path / "saved"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            f"--model_dir={tiny_run}",
            f"--out={out}",
            "--canvas_size=fit",
        ],
        cwd=pathlib.Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    serve = tf.saved_model.load(str(out)).signatures["serving_default"]
    for size in ((5, 9), (33, 40)):
        panoptic = serve(images=tf.zeros([1, *size, 3], tf.uint8))["panoptic"]
        assert panoptic.shape == (1, *size)
