# SPDX-License-Identifier: Apache-2.0
"""What setup.cfg lists exists, and what exists is listed."""

import configparser
import importlib
import pathlib

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


def test_root_folders_are_no_packages():
    for folder in ("configs", "data", "protos", "trainer", "benchmarks"):
        assert not (_ROOT / folder / "__init__.py").exists()


def test_the_readme_stays_short():
    text = (_ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert "make demo" in text
    assert "make test" in text
