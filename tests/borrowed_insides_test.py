# SPDX-License-Identifier: Apache-2.0
"""Every private name of another package is in docs/adr/0008."""

import ast
import pathlib
import re

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_FOLDERS = ("deeplab2_like", "benchmarks", "trainer", "data")
_TABLE = (_ROOT / "docs/adr/0008-borrowed-insides.md").read_text(
    encoding="utf-8"
)
# Public parts of named tuples, and `os._exit`, which is documented.
_PUBLIC = {"_asdict", "_replace", "_fields", "_make", "_exit"}


def _is_private(name):
    return name.startswith("_") and not re.fullmatch(r"__[a-z0-9_]+__", name)


def _parse():
    for folder in _FOLDERS:
        for file in sorted((_ROOT / folder).rglob("*.py")):
            if not file.name.endswith("_pb2.py"):
                yield file, ast.parse(file.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def modules():
    return list(_parse())


def _own_names(tree):
    """Names that a module defines: functions, attributes, variables."""
    for node in ast.walk(tree):
        if isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        ):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(
            node.ctx, ast.Store
        ):
            yield node.attr


def test_private_attributes_of_others_are_listed(modules):
    own = {name for _, tree in modules for name in _own_names(tree)}
    # Set on objects of others, so not among those that are read only.
    own -= {"_paramsEval"}
    unlisted = [
        f"{file.relative_to(_ROOT)}:{node.lineno} {node.attr}"
        for file, tree in modules
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and _is_private(node.attr)
        and node.attr not in own | _PUBLIC
        and f"`{node.attr}`" not in _TABLE
        and f".{node.attr}`" not in _TABLE
    ]
    assert not unlisted, "\n".join(unlisted)


def test_modules_that_are_not_public_are_listed(modules):
    unlisted = []
    for file, tree in modules:
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [f"{node.module}.{a.name}" for a in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.Attribute) and "__internal__" in (
                text := ast.unparse(node)
            ):
                names = [] if text.endswith("__internal__") else [text]
            unlisted += [
                f"{file.relative_to(_ROOT)}:{node.lineno} {name}"
                for name in names
                if re.search(
                    r"^(tensorflow|keras|orbit)\.(python|core|src|_)|"
                    r"^[a-z0-9_]+\._[a-z]|__internal__",
                    name,
                )
                and name not in _TABLE
            ]
    assert not unlisted, "\n".join(unlisted)
