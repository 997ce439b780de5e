# SPDX-License-Identifier: Apache-2.0
"""The 23 configs that deeplab2 ships for systems that exist here too."""

import json
import os
import pathlib
import re

import pytest

from deeplab2_like import config

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def _folder():
    named = os.environ.get("DEEPLAB2_LIKE_REFERENCE")
    return pathlib.Path(named) if named else _ROOT.parent / "shared/reference"


def _read(name):
    for folder in (_folder(), _ROOT.parent / "shared/reference"):
        if (folder / name).is_file():
            return json.loads((folder / name).read_text())
    return None


_FACTS = _read("deeplab2_configs.json")
_NAMES = sorted(_FACTS["configs"]) if _FACTS else []


def _as_text(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value)


def _write(values):
    """Writes {"a.b[0].c": value} as text format, each value on its own.

    Values of one repeated message have to stand in one block.
    """
    tree = {}
    for path, value in values.items():
        node = tree
        *parents, last = path.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value

    def dump(node):
        lines = []
        for key, value in node.items():
            name = re.sub(r"\[\d+\]$", "", key)
            if isinstance(value, dict):
                lines.append(f"{name} {{\n{dump(value)}\n}}")
            elif isinstance(value, list):
                lines += [f"{name}: {_as_text(item)}" for item in value]
            else:
                lines.append(f"{name}: {_as_text(value)}")
        return "\n".join(lines)

    return dump(tree)


def _values_of(name):
    return {**_FACTS["common"], **_FACTS["configs"][name]}


def _get(message, path):
    for part in path.split("."):
        name, _, index = part.partition("[")
        message = getattr(message, name)
        if index:
            message = message[int(index[:-1])]
    return message


def test_the_facts_are_here():
    if _FACTS is None:
        pytest.skip("no golden data: deeplab2_configs.json is absent")
    assert len(_NAMES) >= 23


@pytest.mark.parametrize("name", _NAMES)
def test_a_config_of_deeplab2_parses_and_is_valid(name):
    values = _values_of(name)
    loaded = config.parse(_write(values), source=name, environ={})
    for path, value in values.items():
        actual = _get(loaded.options, path)
        if isinstance(value, list):
            actual = list(actual)
            if path.endswith("crop_size"):
                assert actual == value
                continue
        if isinstance(value, float):
            actual = pytest.approx(actual, rel=1e-6)
        assert actual == value, path
    warned = {w.path for w in loaded.warnings if w.severity == "warning"}
    # The ids of coco_panoptic end at 255, its configs keep 400 centers.
    coco = {"evaluator_options.keep_k_centers"} if "coco" in name else set()
    assert warned == coco


_SHIPPED = [name for name in _NAMES if name in config.list_configs()]


@pytest.mark.parametrize("name", _SHIPPED)
def test_the_shipped_file_of_the_same_name_has_the_same_values(name):
    ours = config.load(name, environ={})
    theirs = config.parse(_write(_values_of(name)), environ={})
    assert ours.text == theirs.text


def test_some_shipped_files_have_the_names_of_deeplab2():
    if _FACTS is None:
        pytest.skip("no golden data: deeplab2_configs.json is absent")
    assert len(_SHIPPED) >= 3


def test_the_recipes_of_the_reference_runs_are_valid():
    runs = {
        name: _read(f"training_runs/{name}.json")
        for name in ("nuclei", "camvid")
    }
    if not all(runs.values()):
        pytest.skip("no golden data: training_runs is absent")
    # A canvas of 361 pixels is not 16 k + 1; deeplab2 does not ask.
    crops = {"nuclei": "[1025, 1281]", "camvid": "[369, 481]"}
    for name, run in runs.items():
        crop = f"eval_dataset_options {{ crop_size: {crops[name]} }}"
        loaded = config.parse(run["config_textproto"], [crop], environ={})
        assert not loaded.warnings
    ours = config.load(
        "nuclei/panoptic_deeplab_mobilenet_v3_small_os16_reference",
        [
            "train_dataset_options { file_pattern: [] }",
            "eval_dataset_options { file_pattern: [] "
            "crop_size: [1025, 1281] pad_to_multiple_of: 0 }",
            "trainer_options { save_checkpoints_steps: 1000 "
            "save_summaries_steps: 1000 steps_per_loop: 1000 }",
        ],
        environ={},
    )
    theirs = config.parse(
        runs["nuclei"]["config_textproto"],
        [
            'train_dataset_options { dataset: "nuclei" }',
            'eval_dataset_options { dataset: "nuclei" pad_to_multiple_of: 0 }',
            "trainer_options { save_checkpoints_steps: 1000 "
            "save_summaries_steps: 1000 steps_per_loop: 1000 }",
        ],
        environ={},
    )
    assert ours.text == theirs.text
