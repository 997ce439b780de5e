# SPDX-License-Identifier: Apache-2.0
"""The command deeplab2-predict with a model that needs no TensorFlow."""

import json
import pathlib
import subprocess
import sys

import pytest

_HERE = pathlib.Path(__file__).resolve().parent
_PROGRAM = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import fake_model
fake_model.install(fake_model.FakeModel())
from deeplab2_like.predict import main
main.cli()
"""


@pytest.fixture(name="run")
def _run(tmp_path):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-c", _PROGRAM, _HERE, "--model=m", *arguments],
            cwd=tmp_path,
            env={"PYTHONPATH": str(_HERE.parents[1])},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_the_program_goes_on_and_says_so(run, write_boxes, tmp_path):
    write_boxes(tmp_path / "images", 3)
    (tmp_path / "list.txt").write_text("images/0001.bmp\nimages/0002.bmp\n")
    done = run("images/0000.bmp", "--list=list.txt", "--out=out")
    assert done.returncode == 0, done.stderr
    assert "3 image(s) predicted by m, " in done.stderr
    (tmp_path / "images/0003.bmp").write_text("no image")
    done = run("images/*.bmp", "--out=out")
    assert done.returncode == 3, done.stderr
    assert "3 of 4 images were predicted earlier." in done.stderr
    assert "3 image(s) predicted by m (3 of them earlier)" in done.stderr
    assert "Left out: images/0003.bmp is not an image" in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "Error: 1 of 4 images could not be read and were left out; "
        "out/failures.json lists them."
    )
    content = json.loads((tmp_path / "out/panoptic.json").read_text())
    assert [image["id"] for image in content["images"]] == [0, 1, 2]


def test_what_would_be_replaced_is_refused(run, write_boxes, tmp_path):
    write_boxes(tmp_path / "images", 1)
    assert run("images", "--out=out").returncode == 0
    done = run("images", "--out=out", "--exif=ignore")
    assert done.returncode == 3
    assert "results of --exif=apply, and now it is ignore" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    done = run("images", "--out=out", "--exif=ignore", "--overwrite")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["a.mp4", "--frame_step=0"], 2, "--frame_step=0 must be"),
        (["a.mp4", "--end_seconds=-1"], 2, "select nothing"),
        (["--list=none.txt"], 3, "The list none.txt cannot be read"),
        (["'*.png'"], 3, "matches no file"),
    ],
)
def test_wrong_flags_are_one_sentence(run, arguments, code, message):
    done = run(*arguments, "--out=out")
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
