# SPDX-License-Identifier: Apache-2.0
"""The command deeplab2-new."""

import pathlib
import subprocess
import sys

import pytest

from deeplab2_like import config

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(folder, *arguments):
    code = (
        "import sys\n"
        "from deeplab2_like.recipes import new_main\n"
        f"sys.argv = ['deeplab2-new', *{list(arguments)!r}]\n"
        "try:\n"
        "    new_main.cli()\n"
        "finally:\n"
        "    assert 'tensorflow' not in sys.modules\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PYTHONPATH": str(_ROOT), "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--out=mine"], 2, "--data is missing"),
        (["--data=.", "extra"], 2, "Unexpected argument 'extra'"),
        (["--data=~/x", "--out=mine"], 3, "/x does not exist"),
        (["--data=.", "--out=mine", "--minutes=0"], 2, "--minutes=0 is out of"),
        (["--data=.", "--out=mine", "--system=x"], 2, "is not one of panop"),
        (["--data=.", "--out=mi*ne"], 2, "contains '*'"),
        (["--data=.", "--out=mine"], 3, "holds no file, which is no data set"),
    ],
)
def test_wrong_use_gives_a_sentence(tmp_path, arguments, code, message):
    done = run(tmp_path, *arguments)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_help_has_every_default(tmp_path):
    done = run(tmp_path, "--help")
    assert done.returncode == 0
    for text in (
        "(default: panoptic_deeplab)",
        "(default: 10.0)",
        "(default: false)",
        "--image_dir=PATH",
    ):
        assert text in done.stdout


def test_the_program_says_what_it_chose_and_what_comes_next(photos):
    done = subprocess.run(
        [
            sys.executable,
            _ROOT / "data" / "new.py",
            "--data=photos",
            "--out=mine",
            "--minutes=1",
        ],
        cwd=photos.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "Images    5 to train, 1 to evaluate, 65 x 97 pixels"
    assert lines[-1].endswith("photos/images --out=mine/pictures")
    assert "deeplab2-train --config_file=mine/config" in lines[-2]
    assert config.load(photos.parent / "mine" / "config.textproto")
