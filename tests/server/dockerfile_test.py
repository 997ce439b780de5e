# SPDX-License-Identifier: Apache-2.0
"""The Dockerfile; images are not built here."""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from deeplab2_like.server import main

_ROOT = pathlib.Path(__file__).parents[2]
_FILE = _ROOT / "deploy" / "Dockerfile"
_TEXT = _FILE.read_text(encoding="utf-8")


def test_hadolint_finds_nothing():
    beside = pathlib.Path(sys.executable).parent / "hadolint"
    program = str(beside) if beside.exists() else shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run(
        [program, "--strict-labels", "--failure-threshold=style", str(_FILE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_base_has_a_full_version():
    (base,) = re.findall(r"^ARG BASE=(\S+)$", _TEXT, re.MULTILINE)
    assert re.fullmatch(r"python:3\.1[1-3]\.\d+-slim-[a-z]+", base)
    assert set(re.findall(r"^FROM (\S+)", _TEXT, re.MULTILINE)) == {"${BASE}"}


def test_the_server_does_not_run_as_root():
    final = _TEXT.rpartition("\nFROM ")[2]
    (user,) = re.findall(r"^USER (\d+):\d+$", final, re.MULTILINE)
    assert int(user) > 0
    assert final.index("USER ") < final.index("ENTRYPOINT ")


def test_the_arguments_are_those_of_the_program():
    (line,) = re.findall(r"^CMD \[(.*)\]$", _TEXT, re.MULTILINE)
    arguments = re.findall(r'"([^"]*)"', line)
    assert len(arguments) == 3
    for argument in arguments:
        name = argument.partition("=")[0].removeprefix("--")
        assert name in main._FLAGS


def test_what_the_package_is_built_from_is_sent_to_the_builder():
    """The rest of the repository is not: it may hold data sets and runs."""
    lines = (_ROOT / "deploy" / "Dockerfile.dockerignore").read_text()
    kept = {line[1:] for line in lines.splitlines() if line.startswith("!")}
    assert all((_ROOT / name).exists() for name in kept)
    assert {"setup.cfg", "pyproject.toml", "README.md", "LICENSE"} <= kept
    assert {"deeplab2_like", "configs", "protos"} <= kept
