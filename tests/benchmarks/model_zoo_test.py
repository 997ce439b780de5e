# SPDX-License-Identifier: Apache-2.0
import importlib.util
import pathlib
import sys

import pytest

from deeplab2_like import config, errors

_ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def model_zoo(monkeypatch):
    """The program as a module."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    path = _ROOT / "benchmarks" / "model_zoo.py"
    spec = importlib.util.spec_from_file_location("model_zoo", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("cityscapes/panoptic_deeplab/mobilenet_v3_large_os16", "55.3 (74.5)"),
        ("cityscapes/panoptic_deeplab/mobilenet_v3_large_os32", ""),
        ("coco/panoptic_deeplab/resnet50_os32", "34.1"),
        ("coco/panoptic_fpn/resnet50_1x", "39.4, detectron2"),
        ("cityscapes/panoptic_fpn/resnet50", ""),
        ("kitti/panoptic_deeplab/resnet50_os32", "48.3 (71.2)"),
    ],
)
def test_published_figures_come_from_the_head_of_the_config(
    model_zoo, name, published
):
    text = config.paths.find_config(name).read_text()
    assert model_zoo.find_published(text) == published


def test_a_row_has_the_size_of_the_network(model_zoo):
    name = "cityscapes/panoptic_deeplab/mobilenet_v3_small_os32"
    header, empty, names, line, row = model_zoo.make_table([name])
    assert (header, empty) == ("`configs/cityscapes/`:", "")
    assert names.count("|") == line.count("|") == row.count("|")
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0] == "`panoptic_deeplab/mobilenet_v3_small_os32`"
    # As deeplab2 counts it.
    assert cells[1:3] == ["1025 x 2049", "10.51 (0.94)"]
    assert 10 < float(cells[3]) < 200


def test_only_the_table_is_replaced(model_zoo):
    text = f"before\n{model_zoo.BEGIN}\nold\n{model_zoo.END}\nafter\n"
    expected = f"before\n{model_zoo.BEGIN}\nnew\n{model_zoo.END}\nafter\n"
    assert model_zoo.replace_table(text, ["new"]) == expected
    with pytest.raises(errors.DataError, match="Add them"):
        model_zoo.replace_table("no place", ["new"])


def test_the_document_lists_every_shipped_config():
    text = (_ROOT / "docs" / "model_zoo.md").read_text()
    for name in config.list_configs():
        folder, _, rest = name.partition("/")
        section = text.partition(f"`configs/{folder}/`:")[2]
        assert f"| `{rest}` |" in section, name
