# SPDX-License-Identifier: Apache-2.0
"""Every program: flags, help, exit codes."""

import ast
import configparser
import importlib
import importlib.metadata
import os
import pathlib
import re
import subprocess
import sys

import pytest

from deeplab2_like.console import usage, version

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_PACKAGE = _ROOT / "deeplab2_like"
_PROGRAM = """
import errno
import os
from absl import flags
from deeplab2_like import errors
from deeplab2_like.console import path_flags, program

_FLAGS = flags.FlagValues()
_KIND = flags.DEFINE_string("kind", None, "What.", flag_values=_FLAGS)
flags.DEFINE_enum("mode", "slow", ["slow", "fast"], "How.", flag_values=_FLAGS)
flags.DEFINE_integer("count", 3, "How many.", lower_bound=1, flag_values=_FLAGS)
flags.DEFINE_float("size", 1.0, "How large.", lower_bound=0.5,
                   flag_values=_FLAGS)
flags.DEFINE_bool("dry", False, "Whether.", flag_values=_FLAGS)
flags.DEFINE_multi_string("word", [], "Words.", flag_values=_FLAGS)
flags.DEFINE_bool("old", False, "", flag_values=_FLAGS)
path_flags.define("out", "here", "Where.", flag_values=_FLAGS)
path_flags.define("run", None, "A run.", flag_values=_FLAGS,
                  holds_checkpoint=True)

def _main(arguments):
    kind = program.require(_KIND, "a kind", "full")
    program.refuse_arguments(arguments)
    if kind == "full":
        raise OSError(errno.ENOSPC, "No space left on device", "out.bin")
    if kind == "interrupt":
        raise KeyboardInterrupt
    if kind == "write":
        with open(os.environ["FILE"], "w") as file:
            file.write("content")
            file.flush()
            print("output", flush=True)
            os.write(1, b"of native code")
            os.write(2, b"of native code")
        return
    if kind == "pipe":
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
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


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_files_of_the_program(tmp_path, closed):
    file = tmp_path / "file"
    command = [sys.executable, "-c", _PROGRAM, "--kind=write"]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *command],
        cwd=_ROOT,
        env={**os.environ, "FILE": str(file)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert file.read_text() == "content"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--kind=fine"], 0, ""),
        ([], 2, "Error: --kind is missing. Give a kind, for example "),
        (["--kind=fine", "x"], 2, "Error: Unexpected argument 'x'"),
        (["--kin=fine"], 2, "Error: Unknown command line flag 'kin'"),
        (["--kind=fine", "--size=nan"], 2, "Error: --size=nan is no number."),
        (["--kind=ConfigError"], 2, "Error: It is wrong."),
        (["--kind=DataError"], 3, "Error: It is wrong."),
        (["--kind=CheckpointError"], 4, "Error: It is wrong."),
        (["--kind=TrainingError"], 5, "Error: It is wrong."),
        (["--kind=ExportError"], 6, "Error: It is wrong."),
        (["--kind=InstallError"], 7, "Error: It is wrong."),
        (["--kind=full"], 1, "No space left on the device while using out.bin"),
        (["--kind=interrupt"], 130, "Interrupted."),
        (["--kind=pipe"], 1, ""),
    ],
)
def test_errors_become_one_sentence_and_an_exit_code(arguments, code, message):
    done = _run(*arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.splitlines()) <= 1
    assert not done.stdout


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--kin=x", "Unknown command line flag 'kin'. Did you mean --kind?"),
        ("--zzz=x", "Unknown command line flag 'zzz'."),
        ("--nokind", "Unknown command line flag 'nokind'."),
        ("--mode=evil", "--mode=evil is not one of slow, fast."),
        ("--mode=x: y", "--mode=x: y is not one of slow, fast."),
        ("--mode", "--mode has no value: write --mode=slow|fast."),
        ("--count=two", "--count=two is not a positive integer."),
        ("--count=0", "--count=0 is not a positive integer."),
        ("--count", "--count has no value: write --count=INTEGER."),
        ("--dry=maybe", "--dry=maybe is not true or false."),
        ("--out", "--out has no value: write --out=PATH."),
    ],
)
def test_a_wrong_flag_is_one_sentence_in_one_style(argument, message):
    done = _run(argument)
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: {message}")
    assert done.stderr.endswith(" See --help.\n")
    assert len(done.stderr.splitlines()) == 1


def test_a_path_that_tensorflow_takes_for_a_pattern_is_a_wrong_flag():
    done = _run("--kind=fine", "--run=run [v1]")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: --run='run [v1]' contains '[': ")
    assert len(done.stderr.splitlines()) == 1


def test_help_shows_every_flag_with_its_default():
    done = _run("--help")
    assert done.returncode == 0
    text = " ".join(done.stdout.split())
    for shown in (
        "--kind=TEXT What. (default: none)",
        "--mode=slow|fast How. (default: slow)",
        "--count=INTEGER How many. (default: 3)",
        "--[no]dry Whether. (default: false)",
        "--word=TEXT Words. May be given several times. (default: none)",
        "--out=PATH Where. (default: here)",
        "--[no]debug Show the Python traceback of an error. (default: false)",
    ):
        assert shown in text
    assert "--[no]old" not in text  # Kept for old command lines.
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_help_behind_two_dashes_is_an_argument():
    assert "Unexpected argument" in _run("--kind=fine", "--", "--help").stderr


def test_debug_shows_the_traceback():
    done = _run("--kind=DataError", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def _programs():
    files = [*_PACKAGE.rglob("main.py"), *_PACKAGE.rglob("*_main.py")]
    return sorted(set(files))


_EACH_PROGRAM = pytest.mark.parametrize(
    "file", _programs(), ids=lambda file: f"{file.parent.name}/{file.stem}"
)


def _list_definitions(file):
    """Lists the calls that define flags, with the name of the function."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [
        (ast.unparse(node.func), node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).startswith(
            ("flags.DEFINE_", "path_flags.define")
        )
    ]


@_EACH_PROGRAM
def test_every_program_keeps_the_convention(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef)
    }
    assert {"_main", "cli"} <= functions
    texts = [ast.unparse(node) for node in tree.body]
    assert "_FLAGS = flags.FlagValues()" in texts
    assert any(text.startswith("if __name__ == ") for text in texts)
    for _, node in _list_definitions(file):
        own = {word.arg: ast.unparse(word.value) for word in node.keywords}
        assert own.get("flag_values") == "_FLAGS", ast.unparse(node)


# Flags that are paths by the last part of their names.
_PATH_NAMES = re.compile(
    r"(^|_)(dir|folder|file|json|pattern|out|output|from|to|model|checkpoint"
    r"|images|panoptic|dataset|inputs|work|before)$"
)


_TEXT_FLAGS = {
    f"flags.DEFINE_{kind}" for kind in ("string", "multi_string", "list")
}

# Values such as name=DIR, whose paths the program expands itself.
_NAMED_PATHS = {(_PACKAGE / "server" / "main.py", "model")}


def _programs_at_the_root():
    files = [
        file
        for folder in ("benchmarks", "data", "trainer")
        for file in (_ROOT / folder).glob("*.py")
    ]
    return sorted(files)


@pytest.mark.parametrize(
    "file",
    [*_programs(), *_programs_at_the_root()],
    ids=lambda file: f"{file.parent.name}/{file.stem}",
)
def test_every_path_is_a_path_flag(file):
    for function, node in _list_definitions(file):
        name = ast.literal_eval(node.args[0])
        if _PATH_NAMES.search(name) and (file, name) not in _NAMED_PATHS:
            assert function not in _TEXT_FLAGS, name


def test_flags_are_defined_in_programs_only():
    programs = {
        *_programs(),
        _PACKAGE / "console" / "program.py",
        _PACKAGE / "console" / "path_flags.py",
        # Of several commands.
        _PACKAGE / "recipes" / "published_flags.py",
        _PACKAGE / "recipes" / "reading_flags.py",
    }
    for file in _PACKAGE.rglob("*.py"):
        if file not in programs:
            assert "flags.DEFINE_" not in file.read_text(encoding="utf-8"), file


def _read_commands():
    """Returns the module of each console command."""
    parser = configparser.ConfigParser()
    parser.read(_ROOT / "setup.cfg")
    lines = parser["options.entry_points"]["console_scripts"].split("\n")
    pairs = [line.split(" = ") for line in lines if line]
    return {name: target.partition(":")[0] for name, target in pairs}


@pytest.mark.parametrize(("command", "module"), _read_commands().items())
def test_every_command_is_in_its_help_and_in_the_readme(command, module):
    file = _ROOT / f"{module.replace('.', '/')}.py"
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    assert f"\n    {command} " in text
    readme = (_ROOT / "README.md").read_text(encoding="utf-8")
    assert f"| `{command} " in readme


@_EACH_PROGRAM
def test_wrong_flags_are_refused_without_tensorflow(file):
    module = ".".join(file.relative_to(_ROOT).with_suffix("").parts)
    code = (
        "import runpy, sys\n"
        "sys.argv = ['program', '--no-such-flag']\n"
        "try:\n"
        f"    runpy.run_module({module!r}, run_name='__main__')\n"
        "except SystemExit as error:\n"
        "    assert error.code == 2, error.code\n"
        "assert not {'tensorflow', 'keras', 'orbit'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    message = "Error: Unknown command line flag 'no-such-flag'. See --help.\n"
    assert done.stderr == message


@_EACH_PROGRAM
def test_the_help_of_every_program_is_complete(file):
    module = importlib.import_module(
        ".".join(file.relative_to(_ROOT).with_suffix("").parts)
    )
    own = [module._FLAGS[name] for name in module._FLAGS]
    text = usage.describe_program(module.__doc__, own)
    assert "\n    " in module.__doc__  # How it is called.
    shown = [flag for flag in own if flag.help != "(no help available)"]
    for flag in shown:
        assert re.search(rf"--(\[no\])?{flag.name}\b", text)
    assert text.count("(default:") == len(shown)


def test_the_versions_are_one_line():
    done = _run("--version")
    assert done.returncode == 0
    assert re.fullmatch(
        r"deeplab2-like \S+, TensorFlow \S+, Keras \S+, Python \S+\n",
        done.stdout,
    )


def test_a_package_that_is_missing_has_no_version(monkeypatch):
    def find(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", find)
    assert "TensorFlow not installed, Keras not inst" in version.describe()


@pytest.mark.parametrize(
    "file",
    [
        file
        for file in _programs_at_the_root()
        if "__main__" in file.read_text(encoding="utf-8")
    ],
    ids=lambda file: f"{file.parent.name}/{file.stem}",
)
def test_programs_at_the_root_run_in_the_common_frame(file):
    text = file.read_text(encoding="utf-8")
    if file.stem == "stablehlo_jax":  # Runs where this package is not.
        assert "argparse" in text
        return
    assert re.search(r"(program|running)\.run\(|_?main\.cli\(\)", text)
    assert "del arguments" not in text  # Nothing is ignored silently.
