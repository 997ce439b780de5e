# SPDX-License-Identifier: Apache-2.0
import pathlib

import pytest

from deeplab2_like import config

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_every_file_of_the_configs_folder_is_listed():
    files = {
        path.relative_to(_ROOT / "configs").as_posix()
        for path in (_ROOT / "configs").rglob("*")
        if path.is_file()
    }
    names = [*config.list_configs()]
    names += [f"datasets/{name}" for name in config.list_datasets()]
    assert files == {f"{name}.textproto" for name in names}
    assert len(config.list_configs()) >= 5


@pytest.mark.parametrize("name", config.list_configs())
def test_every_shipped_config_is_valid_without_warnings(name):
    loaded = config.load(name, environ={})
    warned = {w.path for w in loaded.warnings if w.severity == "warning"}
    # Those of deeplab2 for COCO have 400 centers and ids for 255.
    has_many_centers = name.startswith("coco/panoptic_deeplab/")
    assert warned == (
        {"evaluator_options.keep_k_centers"} if has_many_centers else set()
    )


@pytest.mark.parametrize("name", config.list_configs())
def test_every_shipped_config_names_paper_and_command(name):
    text = (_ROOT / "configs" / f"{name}.textproto").read_text()
    assert "# proto-message: ExperimentOptions" in text
    assert "arXiv" in text
    assert "# Command:" in text


@pytest.mark.parametrize("name", config.list_datasets())
def test_every_shipped_descriptor_is_valid_and_has_colors(name):
    descriptor = config.load_dataset(name)
    assert descriptor.name == name
    assert descriptor.description
    assert all(len(entry.color) == 3 for entry in descriptor.classes)
    colors = [tuple(entry.color) for entry in descriptor.classes]
    if len(colors) < 20:
        assert len(set(colors)) == len(colors)
