# SPDX-License-Identifier: Apache-2.0
"""The names of `import deeplab2_like as d2`."""

import ast
import importlib
import pathlib
import subprocess
import sys

import pytest

import deeplab2_like as d2

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def _read_type_hints():
    """Returns name -> (module, name there) of the imports for type checkers."""
    tree = ast.parse(pathlib.Path(d2.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    hints = {}
    for node in block.body:
        for alias in node.names:
            hints[alias.asname or alias.name] = (node.module, alias.name)
    return hints


def test_type_checkers_see_what_the_names_are():
    hints = _read_type_hints()
    assert sorted(hints) == sorted(set(d2.__all__) - {"__version__"})
    for name, (module, attribute) in hints.items():
        found = getattr(importlib.import_module(module), attribute)
        assert getattr(d2, name) is found, name


def test_every_name_is_listed_and_found():
    assert sorted(d2.__all__) == d2.__all__ or sorted(d2.__all__, key=str.lower)
    for name in d2.__all__:
        assert name in dir(d2)
        assert getattr(d2, name) is not None


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="has no attribute 'build_modell'"):
        d2.build_modell  # noqa: B018


def test_no_part_hides_a_name():
    """A part of a name's own name would take its place once imported."""
    package = pathlib.Path(d2.__file__).parent
    for name in d2.__all__:
        if (package / name).exists() or (package / f"{name}.py").exists():
            module = importlib.import_module(f"deeplab2_like.{name}")
            assert getattr(d2, name) is module


def test_importing_loads_nothing_that_takes_long():
    code = (
        "import sys; before = set(sys.modules); import deeplab2_like as d2; "
        "d2.__version__; new = set(sys.modules) - before; "
        "import json; print(json.dumps(sorted(new)))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.split(".")[0] for name in ast.literal_eval(done.stdout)}
    assert not loaded & {
        "tensorflow",
        "keras",
        "numpy",
        "google",
        "PIL",
        "rich",
    }


@pytest.mark.parametrize(
    "name", ["list_configs", "load_config", "load_dataset", "Predictor"]
)
def test_names_that_need_no_tensorflow_do_not_load_it(name):
    code = (
        f"import sys, deeplab2_like as d2; d2.{name}; "
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=_ROOT, check=True)


def test_configs_are_listed_by_pattern():
    names = d2.list_configs()
    found = d2.list_configs("cityscapes/*resnet50*")
    assert found
    assert found == [
        name
        for name in names
        if name.startswith("cityscapes/") and "resnet50" in name
    ]
    assert d2.list_configs("nothing*") == []


def test_mypy_knows_the_types(tmp_path):
    api = pytest.importorskip("mypy.api")
    file = tmp_path / "notebook.py"
    file.write_text(
        "import deeplab2_like as d2\n"
        "reveal_type(d2.load_config)\n"
        "reveal_type(d2.make_dataset)\n"
        "d2.list_configs(3)\n"
    )
    out, _, code = api.run(
        ["--follow-imports=silent", "--ignore-missing-imports", str(file)]
    )
    assert code == 1
    assert "Sequence[builtins.str]" in out or "Sequence[str]" in out
    assert "loader.Config" in out
    assert "DatasetDescriptor" in out
    assert 'Argument 1 to "list_configs" has incompatible type' in out
