# SPDX-License-Identifier: Apache-2.0
"""The command deeplab2-pseudo-label."""

import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photos", "--out=gs://a/b"], "--out=gs://a/b is an address"),
        (["--out=pseudo"], "No image is given"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(arguments, message):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "deeplab2_like.naive_student.label_main"),
            "--model=run",
            *arguments,
        ],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (_ROOT / "gs:").exists()
