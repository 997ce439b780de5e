# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of another graph are refused with the field to set."""

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.checkpoints import (
    conversion,
    encoder_graphs,
    initialization,
    writing,
)
from deeplab2_like.checkpoints import source as checkpoint_source
from deeplab2_like.config import run_config
from deeplab2_like.model.backbones import graphs
from deeplab2_like.model.backbones.efficientnet import EfficientNet
from deeplab2_like.model.backbones.mobilenet_v3 import MobileNetV3
from deeplab2_like.model.backbones.resnet import ResNet


def _config(run, graph):
    """Returns the config of the tiny run with another graph."""
    override = f'model_options {{ backbone {{ graph: "{graph}" }} }}'
    return run_config.load_checked(str(run), [override])


@pytest.fixture(scope="module")
def in_torchvision(tiny_run, tmp_path_factory):
    """The prefix of a checkpoint of the tiny network in another graph."""
    _, model = conversion._build(_config(tiny_run, "torchvision"))
    prefix = f"{tmp_path_factory.mktemp('torchvision')}/ckpt-0"
    values = {("variables", v.path): v.numpy() for v in model.variables}
    writing.write_checkpoint(prefix, values, overwrite=False)
    return prefix


def test_a_checkpoint_fits_its_own_graph(tiny_run, in_torchvision):
    system, model = conversion._build(_config(tiny_run, "torchvision"))
    del system
    assert initialization.restore_all(in_torchvision, model) == 0


@pytest.mark.parametrize("graph", ["deeplab2", "keras"])
def test_a_checkpoint_of_another_graph_is_refused(
    tiny_run, in_torchvision, graph
):
    _, model = conversion._build(_config(tiny_run, graph))
    before = [variable.numpy() for variable in model.variables]
    message = (
        'for the graph "torchvision" of this encoder, whose graph is '
        f'"{graph}": set model_options.backbone.graph to "torchvision"'
    )
    with pytest.raises(errors.CheckpointError, match=message) as info:
        initialization.restore_all(in_torchvision, model)
    assert "\n" not in str(info.value)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize("layout", ["own", "deeplab2"])
def test_checkpoints_of_deeplab2s_graph_fit_no_other(
    tiny_run, in_deeplab2, layout
):
    _, model = conversion._build(_config(tiny_run, "keras"))
    path = str(tiny_run) if layout == "own" else in_deeplab2
    message = 'set model_options.backbone.graph to "deeplab2"'
    with pytest.raises(errors.CheckpointError, match=message):
        checkpoint_source.load_source(path, model)


def test_other_graphs_cannot_be_written_for_deeplab2(
    tiny_run, in_torchvision, tmp_path
):
    config = _config(tiny_run, "torchvision")
    with pytest.raises(errors.CheckpointError, match="deeplab2 has no var"):
        conversion.convert(
            config, in_torchvision, f"{tmp_path}/ckpt-0", layout="deeplab2"
        )


def test_graphs_are_recognized_by_their_normalization():
    for table, make in (
        (graphs.RESNETS, lambda name: ResNet([], graph=name)),
        (graphs.MOBILENETS, lambda name: MobileNetV3("small", graph=name)),
    ):
        for name in table:
            net = make(name)
            offset = None
            if net.normalize is not None:
                net.normalize.build((None, None, None, 3))
                offset = net.normalize.offset.numpy()
            found = encoder_graphs.recognize_graph(offset, net)
            assert found == name
    unknown = np.array([9.0, 9.0, 9.0])
    net = ResNet([])
    assert encoder_graphs.recognize_graph(unknown, net) is None


def test_encoders_with_one_graph_take_any():
    net = EfficientNet("b0")
    assert encoder_graphs.find_graphs(net) is None
    encoder_graphs.check_graph("x", ("keras",), net)
    encoder_graphs.check_graph("x", ("keras",), None)
