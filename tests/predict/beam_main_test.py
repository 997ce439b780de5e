# SPDX-License-Identifier: Apache-2.0
"""The command deeplab2-predict-beam, where Beam may be absent."""

import subprocess
import sys

import pytest

from deeplab2_like import errors
from deeplab2_like.predict import beam_main


def test_without_beam_the_program_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.setitem(sys.modules, "apache_beam.options", None)
    with pytest.raises(errors.InstallError, match=r"deeplab2-like\[beam\]"):
        beam_main.predict("model", ["a.jpg"], str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.jpg", "--out=x"], "--model is missing"),
        (["a.jpg", "--model=x"], "--out is missing"),
        (["--model=x", "--out=x", "--", "--runner=y"], "No image is given"),
    ],
)
def test_wrong_command_lines_are_one_sentence(arguments, message):
    code = "from deeplab2_like.predict.beam_main import cli; cli()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
