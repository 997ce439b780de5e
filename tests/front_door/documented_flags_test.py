# SPDX-License-Identifier: Apache-2.0
"""Each flag that the documents give to a program is one that it has."""

import ast
import configparser
import pathlib
import re

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_PROGRAM = re.compile(r"deeplab2-[a-z-]+|(?:trainer|data|benchmarks)/\w+\.py")
_FENCED = re.compile(r"```[^\n]*\n(.*?)```", re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
# Flags of absl's own.
_ALWAYS = {"help", "helpfull", "version"}
# Words behind which no flag is the program's.
_ENDS = {"|", "&&", ";", "--", "#"}


def _list_documents():
    yield from (_ROOT / "README.md", _ROOT / "CHANGELOG.md")
    yield from sorted((_ROOT / "docs").rglob("*.md"))
    yield from sorted((_ROOT / "data").glob("*.md"))


def _list_commands(text):
    text = re.sub(r"\\\n\s*", " ", text)
    for block in _FENCED.findall(text):
        yield from block.splitlines()
    yield from _INLINE.findall(_FENCED.sub("", text))


def _list_uses(command):
    """Yields each program of a command, and a flag that it gets."""
    name = None
    for word in command.split():
        if _PROGRAM.fullmatch(word):
            name = word
        elif word in _ENDS:
            name = None
        elif word.startswith("--") and name is not None:
            yield name, re.split(r"[=.,:]", word[2:])[0]


def _locate_programs():
    """Returns the file of each console command."""
    config = configparser.ConfigParser()
    config.read(_ROOT / "setup.cfg")
    lines = config["options.entry_points"]["console_scripts"].split("\n")
    pairs = [line.split(" = ") for line in lines if line.strip()]
    return {
        name.strip(): _to_path(target.partition(":")[0])
        for name, target in pairs
    }


def _to_path(module):
    path = _ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _list_imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] in ("deeplab2_like", "benchmarks"):
                yield _to_path(name)


def _find_flags(path, depth=2):
    """Returns the flags that a file defines, and those that it imports."""
    if not path.is_file():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        first = node.args[0]
        if called.lower().startswith(("define", "_define")) and isinstance(
            first, ast.Constant
        ):
            found.add(first.value)
    if depth:
        for imported in _list_imported(tree):
            found |= _find_flags(imported, depth - 1)
    return found


def test_flags_in_documents_exist():
    programs = _locate_programs()
    flags = {}
    unknown, count = [], 0
    for document in _list_documents():
        text = document.read_text(encoding="utf-8")
        for command in _list_commands(text):
            for name, flag in _list_uses(command):
                path = programs.get(name, _ROOT / name)
                if name not in programs and "/" not in name:
                    continue  # A name of something else.
                if name not in flags:
                    flags[name] = _find_flags(path) | _ALWAYS
                count += 1
                known = flags[name]
                if flag not in known and flag.removeprefix("no") not in known:
                    unknown.append(f"{document.name}: {name} --{flag}")
    assert not unknown
    assert count > 200


def test_benchmarks_in_documents_exist():
    missing = [
        f"{document.name}: {word}"
        for document in _list_documents()
        for command in _list_commands(document.read_text(encoding="utf-8"))
        for word in command.split()
        if _PROGRAM.fullmatch(word)
        and word.startswith("benchmarks/")
        and not (_ROOT / word).is_file()
    ]
    assert not missing
