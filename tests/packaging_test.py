# SPDX-License-Identifier: Apache-2.0
"""What setup.cfg lists exists, and what exists is listed."""

import ast
import configparser
import importlib
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[1]
# Folders that travel in the wheel as data.
_DATA_PACKAGES = {"deeplab2_like.configs", "deeplab2_like.schema"}


def _read_setup():
    parser = configparser.ConfigParser()
    parser.read(_ROOT / "setup.cfg")
    return parser


def test_the_listed_packages_are_the_folders_of_the_library():
    listed = _read_setup()["options"]["packages"].split()
    folders = {
        ".".join(file.parent.relative_to(_ROOT).parts)
        for file in (_ROOT / "deeplab2_like").rglob("__init__.py")
    }
    assert set(listed) == folders | _DATA_PACKAGES
    assert listed == sorted(listed)


def _read_contracts():
    text = (_ROOT / "pyproject.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    return {table["name"]: table for table in tables}


def _list_parts():
    """Lists what lies directly in the package: its folders and modules."""
    package = _ROOT / "deeplab2_like"
    return {
        path.stem
        for path in package.iterdir()
        if (path / "__init__.py").exists()
        or (path.suffix == ".py" and path.name != "__init__.py")
    }


def test_every_part_is_in_the_contract_of_layers():
    contract = _read_contracts()["Each part knows only what is below it"]
    listed = [
        name.strip()
        for layer in contract["layers"]
        for name in layer.split("|")
    ]
    assert sorted(listed) == sorted(_list_parts())
    assert contract["exhaustive"]
    assert not contract.get("ignore_imports")


def test_every_part_but_the_trainer_does_without_orbit():
    """And but `naive_student`, which starts the trainer."""
    contract = _read_contracts()["Only the trainer needs Orbit"]
    listed = {
        name.removeprefix("deeplab2_like.")
        for name in contract["source_modules"]
    }
    above = {"trainer", "naive_student"}
    assert listed == _list_parts() - above - {"errors", "protos"}


def test_the_root_of_the_package_holds_folders_and_little_else():
    package = _ROOT / "deeplab2_like"
    files = {path.name for path in package.iterdir() if path.is_file()}
    assert files == {"__init__.py", "errors.py", "py.typed"}


def test_the_imports_keep_the_contracts():
    pytest.importorskip("importlinter")
    # Its command disables the loggers of the process that it runs in.
    program = "from importlinter import cli; cli.lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--config=pyproject.toml"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_modules_and_functions_keep_their_limits():
    """400 lines a module, 80 a function, 8 parameters."""
    found = []
    for file in (_ROOT / "deeplab2_like").rglob("*.py"):
        if file.name.endswith("_pb2.py"):
            continue
        text = file.read_text(encoding="utf-8")
        if len(text.splitlines()) > 400:
            found.append(f"{file}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef):
                continue
            where = f"{file}:{node.lineno}: {node.name}"
            if node.end_lineno - node.lineno + 1 > 80:
                found.append(f"{where} is too long")
            names = [*node.args.posonlyargs, *node.args.args]
            names = [name for name in names if name.arg not in ("self", "cls")]
            if len(names) + len(node.args.kwonlyargs) > 8:
                found.append(f"{where} has too many parameters")
    assert not found, "\n".join(found)


def test_every_console_command_names_a_function():
    scripts = _read_setup()["options.entry_points"]["console_scripts"]
    for line in scripts.strip().splitlines():
        name, _, target = line.partition(" = ")
        module, _, function = target.partition(":")
        if module.startswith("deeplab2_like.trainer"):
            pytest.importorskip("orbit")
        assert callable(getattr(importlib.import_module(module), function)), (
            name
        )


def test_every_requirement_has_the_bounds_that_were_tried():
    setup = _read_setup()
    lines = [
        *setup["options"]["install_requires"].split(),
        *setup["options.extras_require"]["train"].split(),
    ]
    for line in lines:
        assert re.fullmatch(r"[\w-]+(>=[\d.]+,<[\d.]+|~=[\d.]+)", line), line


def test_root_folders_are_no_packages():
    for folder in ("configs", "data", "protos", "trainer", "benchmarks"):
        assert not (_ROOT / folder / "__init__.py").exists()


def test_the_readme_stays_short():
    text = (_ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert "make demo" in text
    assert "make test" in text
