# SPDX-License-Identifier: Apache-2.0
"""Every program: flags, help, exit codes."""

import ast
import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_PACKAGE = _ROOT / "deeplab2_like"
_PROGRAM = """
import errno
from absl import flags
from deeplab2_like import errors
from deeplab2_like.console import program

_FLAGS = flags.FlagValues()
_KIND = flags.DEFINE_string("kind", None, "What.", flag_values=_FLAGS)

def _main(arguments):
    kind = program.require(_KIND, "a kind", "full")
    program.refuse_arguments(arguments)
    if kind == "full":
        raise OSError(errno.ENOSPC, "No space left on device", "out.bin")
    if kind == "interrupt":
        raise KeyboardInterrupt
    if kind != "fine":
        raise getattr(errors, kind)("It is wrong.")

program.run(_main, _FLAGS)
"""


def _run(*arguments):
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--kind=fine"], 0, ""),
        ([], 2, "Error: --kind is missing. Give a kind, for example "),
        (["--kind=fine", "x"], 2, "Error: Unexpected argument 'x'"),
        (["--kin=fine"], 2, "Error: Unknown command line flag 'kin'"),
        (["--kind=ConfigError"], 2, "Error: It is wrong."),
        (["--kind=DataError"], 3, "Error: It is wrong."),
        (["--kind=CheckpointError"], 4, "Error: It is wrong."),
        (["--kind=TrainingError"], 5, "Error: It is wrong."),
        (["--kind=ExportError"], 6, "Error: It is wrong."),
        (["--kind=InstallError"], 7, "Error: It is wrong."),
        (["--kind=full"], 1, "No space left on the device while using out.bin"),
        (["--kind=interrupt"], 130, "Interrupted."),
    ],
)
def test_errors_become_one_sentence_and_an_exit_code(arguments, code, message):
    done = _run(*arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.splitlines()) <= 1
    assert not done.stdout


def test_debug_shows_the_traceback():
    done = _run("--kind=DataError", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def _programs():
    files = [*_PACKAGE.rglob("main.py"), *_PACKAGE.rglob("*_main.py")]
    return sorted(set(files))


@pytest.mark.parametrize(
    "file", _programs(), ids=lambda file: f"{file.parent.name}/{file.stem}"
)
def test_every_program_keeps_the_convention(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef)
    }
    assert "cli" in functions
    texts = [ast.unparse(node) for node in tree.body]
    assert "_FLAGS = flags.FlagValues()" in texts
    assert any(text.startswith("if __name__ == ") for text in texts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(
            "flags.DEFINE_"
        ):
            own = {word.arg: ast.unparse(word.value) for word in node.keywords}
            assert own.get("flag_values") == "_FLAGS", ast.unparse(node)


def test_flags_are_defined_in_programs_only():
    programs = {*_programs(), _PACKAGE / "console" / "program.py"}
    for file in _PACKAGE.rglob("*.py"):
        if file not in programs:
            assert "flags.DEFINE_" not in file.read_text(encoding="utf-8"), file
