# SPDX-License-Identifier: Apache-2.0
"""The commands of docs/your_own_data.md run, one after the other."""

import configparser
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_DOCUMENT = _ROOT / "docs" / "your_own_data.md"
_SNIPPET = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Fewer and smaller scenes, fewer steps.
_SMALLER = {
    "--count=40": ["--count=6"],
    "--size=257,513": ["--size=65,97"],
    "--out=mine": ["--out=mine", "--minutes=0.1"],
}


def _list_commands():
    text = _DOCUMENT.read_text(encoding="utf-8")
    return [
        shlex.split(line)
        for snippet in _SNIPPET.findall(text)
        for line in snippet.splitlines()
    ]


def _read_modules():
    """Returns the module of each console command."""
    setup = configparser.ConfigParser()
    setup.read(_ROOT / "setup.cfg")
    scripts = setup["options.entry_points"]["console_scripts"]
    return dict(re.findall(r"([\w-]+) = ([\w.]+):cli", scripts))


def _make_runnable(command):
    program, *arguments = command
    if program == "python":
        start = [str(_ROOT / arguments.pop(0))]
    else:
        start = ["-m", _read_modules()[program]]
    found = [small for a in arguments for small in _SMALLER.get(a, [a])]
    return [sys.executable, *start, *found]


def test_the_document_has_three_commands_besides_drawing():
    programs = [command[0] for command in _list_commands()]
    assert programs == [
        "python",
        "deeplab2-new",
        "deeplab2-train",
        "deeplab2-predict",
    ]


@pytest.mark.slow
def test_the_commands_lead_to_pictures(tmp_path):
    pytest.importorskip("orbit")
    outputs = []
    for command in _list_commands():
        done = subprocess.run(
            _make_runnable(command),
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    # The first command prints the others as they stand in the document.
    printed = [line.strip() for line in outputs[1].splitlines()[-2:]]
    assert printed == [shlex.join(c) for c in _list_commands()[2:]]
    pictures = list((tmp_path / "mine" / "pictures").glob("*.overlay.png"))
    assert len(pictures) == 6
    assert (tmp_path / "mine" / "run" / "eval" / "metrics.json").exists()
