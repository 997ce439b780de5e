# SPDX-License-Identifier: Apache-2.0
"""Graphs of other libraries: structure, options, configs.

That published weights give their outputs in them is tested in
`tests/checkpoints/encoder_weights_test.py` and `tests/reference`.
"""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.config import names
from deeplab2_like.model.backbones import graphs
from deeplab2_like.model.backbones.efficientnet import EfficientNet
from deeplab2_like.model.backbones.mobilenet_v3 import MobileNetV3
from deeplab2_like.model.backbones.residual_blocks import (
    BottleneckBlock,
    BottleneckV1Block,
    pool_stem,
)
from deeplab2_like.model.backbones.resnet import ResNet
from deeplab2_like.model.backbones.stages import StageSpec
from deeplab2_like.model.build_backbone import build_backbone
from deeplab2_like.protos import model_pb2
from deeplab2_like.testing import harness


def _small_mobilenet(graph):
    return MobileNetV3("small", graph=graph)


_OTHERS = [name for name in graphs.RESNETS if name != graphs.DEFAULT]
_SMALL = [
    StageSpec(number, "bottleneck", 2, (4, 4, 8)) for number in (2, 3, 4, 5)
]


def _small_resnet(graph, output_stride=32):
    return ResNet(_SMALL, output_stride, stem_filters=4, graph=graph)


def _build(name, **fields):
    """Builds the backbone of a config, without variables."""
    options = model_pb2.ModelOptions.BackboneOptions(name=name, **fields)
    options.use_squeeze_and_excite = "mobilenet" in name
    return build_backbone(options)


def _paths(net):
    net.build((None, None, None, 3))
    return [variable.path for variable in net.variables]


def test_configs_name_the_graphs_that_networks_have():
    for name, known in names.OTHER_GRAPHS.items():
        if name.startswith("resnet"):
            table = graphs.RESNETS
        elif name in names.MOBILENETS:
            table = graphs.MOBILENETS
        else:
            continue
        assert {graphs.DEFAULT, *known} == set(table)
    assert names.GRAPHS[0] == graphs.DEFAULT


@pytest.mark.parametrize("graph", _OTHERS)
def test_small_resnets_have_their_strides_and_options(graph):
    net = _small_resnet(graph, 16)
    endpoints = net(np.zeros((1, 66, 97, 3), np.float32))
    sizes = [endpoints[f"res{number}"].shape[1:3] for number in range(1, 6)]
    assert sizes == [(33, 49), (17, 25), (9, 13), (5, 7), (5, 7)]
    first = net.stages[1][0]
    v1 = graph in ("keras", "detectron2")
    assert type(first) is (BottleneckV1Block if v1 else BottleneckBlock)
    assert [layer.strides for layer in first.branch[:2]] == (
        [2, 1] if v1 else [1, 2]
    )
    assert net.stages[0][0].stride == 1
    epsilon = 1.001e-5 if graph == "keras" else 1e-5
    assert net.stem.bn.epsilon == first.branch[2].bn.epsilon == epsilon


@pytest.mark.slow
@pytest.mark.parametrize("graph", ["torchvision", "keras"])
def test_resnets_pass_the_harness(graph, tmp_path):
    harness.check_model(
        lambda: _small_resnet(graph, 16), tmp_path, takes_bytes=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("graph", ["torchvision", "keras"])
def test_mobilenets_pass_the_harness(graph, tmp_path):
    harness.check_model(
        lambda: MobileNetV3("small", 16, graph=graph),
        tmp_path,
        takes_bytes=False,
    )


def test_a_graph_adds_the_normalization_alone_to_the_variables():
    added = [f"backbone/normalize/{name}" for name in ("scale", "offset")]
    for make in (_small_resnet, _small_mobilenet):
        plain = _paths(make(graphs.DEFAULT))
        for graph in ("torchvision", "keras"):
            assert _paths(make(graph)) == added + plain


@pytest.mark.parametrize(
    ("net", "graph", "mean", "deviation"),
    [
        (_small_resnet, "detectron2", (123.675, 116.28, 103.53), 1.0),
        (_small_resnet, "keras", (123.68, 116.779, 103.939), 1.0),
        (
            _small_resnet,
            "torchvision",
            (123.675, 116.28, 103.53),
            (58.395, 57.12, 57.375),
        ),
        (_small_mobilenet, "keras", 127.5, 127.5),
    ],
)
def test_images_are_normalized_as_published(net, graph, mean, deviation):
    layer = net(graph).normalize
    layer.build((None, None, None, 3))
    image = np.array([[0.0, 50.0, 255.0], [3.0, 127.0, 200.0]], np.float32)
    image = image.reshape(1, 1, 2, 3)
    expected = (image - np.array(mean)) / deviation
    np.testing.assert_allclose(
        layer(image / 127.5 - 1.0), expected, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("graph", _OTHERS)
def test_atrous_nets_compute_the_same_at_the_pixels_of_the_strided_one(graph):
    """Also where the stride is in front of the 3x3 convolution."""
    image = np.random.default_rng(0).uniform(-1, 1, (1, 97, 65, 3))
    nets = [_small_resnet(graph, stride) for stride in (32, 16, 8)]
    rng = np.random.default_rng(1)
    for net in nets:
        net.build((None, None, None, 3))
    for copies in zip(*(net.variables for net in nets), strict=True):
        value = copies[0].numpy()
        if copies[0].path.endswith("gamma"):
            value = rng.uniform(0.5, 1.5, value.shape)
        for variable in copies:
            variable.assign(value)
    strided, *atrous = [net(image.astype("f4")) for net in nets]
    for step, endpoints in zip((2, 4), atrous, strict=True):
        fine = endpoints["res5"].numpy()[:, ::step, ::step]
        coarse = strided["res5"].numpy()
        np.testing.assert_allclose(
            fine, coarse, atol=1e-5 * np.abs(coarse).max()
        )


@pytest.mark.parametrize("size", [(5, 8), (6, 7)])
def test_the_pooling_takes_the_largest_of_nine_pixels(size):
    x = np.random.default_rng(0).uniform(0.1, 1.0, (1, *size, 2))
    wide = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-1.0)
    rows, columns = [range(0, side, 2) for side in size]
    expected = [
        [wide[0, y : y + 3, x0 : x0 + 3].max((0, 1)) for x0 in columns]
        for y in rows
    ]
    np.testing.assert_array_equal(pool_stem(tf.constant(x))[0], expected)


def test_mobilenets_have_hard_gates_and_the_padding_of_their_graph():
    for graph, padding in (("torchvision", "symmetric"), ("keras", "same")):
        net = _build("mobilenet_v3_large", graph=graph)
        assert net.graph == graph
        assert net.stem.padding == net.blocks[1].depthwise.padding == padding
        gated = [b.squeeze_excite for b in net.blocks if b.squeeze_excite]
        assert {gates.gate for gates in gated} == {"hard_sigmoid"}
    default = _build("mobilenet_v3_large").blocks
    gated = [b.squeeze_excite for b in default if b.squeeze_excite]
    assert len(gated) == 8
    assert {gates.gate for gates in gated} == {"sigmoid"}


def test_the_epsilon_of_a_graph_replaces_that_of_the_config():
    options = model_pb2.ModelOptions.BackboneOptions(name="resnet50")
    given = {"epsilon": 0.5, "momentum": 0.9}
    assert build_backbone(options, given).stem.bn.epsilon == 0.5
    options.graph = "torchvision"
    changed = build_backbone(options, given).stem.bn
    assert (changed.epsilon, changed.momentum) == (1e-5, 0.9)


def test_configs_pad_efficientnets_of_keras_as_keras_does():
    def padding(**fields):
        return _build("efficientnet_b0", **fields).get_config()["padding"]

    assert padding() == "symmetric"
    assert padding(graph="keras") == "same"
    assert padding(graph="keras", padding="symmetric") == "symmetric"


@pytest.mark.parametrize(
    ("name", "graph", "message"),
    [
        ("resnet50_beta", "torchvision", "has deeplab2 only - Remove"),
        ("efficientnet_lite0", "keras", "has deeplab2 only - Remove"),
        (
            "mobilenet_v3_small",
            "detectron2",
            "has deeplab2 and keras and",
        ),
    ],
)
def test_graphs_that_a_network_does_not_have_are_refused(name, graph, message):
    with pytest.raises(errors.ConfigError, match=message) as info:
        _build(name, graph=graph)
    assert f'model_options.backbone.graph is "{graph}"' in str(info.value)


@pytest.mark.parametrize("make", [_small_resnet, _small_mobilenet])
def test_unknown_graphs_are_refused(make):
    with pytest.raises(ValueError, match="graph is 'caffe' - known are deepl"):
        make("caffe")


def test_the_default_of_an_efficientnet_is_unchanged():
    assert EfficientNet("b0").get_config()["padding"] == "symmetric"
