# SPDX-License-Identifier: Apache-2.0
"""Arrays with PyTorch's names reach the variables that they are for.

That whole networks give the published outputs is tested in `tests/reference`.
"""

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.checkpoints import encoder_keys, encoder_weights
from deeplab2_like.model.backbones.efficientnet import EfficientNet
from deeplab2_like.model.backbones.mobilenet_v3 import MobileNetV3
from deeplab2_like.model.backbones.resnet import ResNet
from deeplab2_like.model.backbones.stages import StageSpec

_STAGES = [StageSpec(n, "bottleneck", n - 1, (4, 4, 8)) for n in (2, 3)]
_VARIABLES = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "bias": "bias",
    "kernel": "weight",
}


def _build(net):
    net.build((None, None, None, 3))
    return net


def _resnet(graph):
    return _build(ResNet(_STAGES, stem_filters=4, graph=graph))


def _layers(net):
    return dict.fromkeys(
        variable.path.split("/", 1)[1].rpartition("/")[0]
        for variable in net.variables
    )


def _to_torch(layer):
    """Returns the axes of a kernel of ours in the order of PyTorch."""
    # [h, w, C, 1] to [C, 1, h, w], or [h, w, in, out] to [out, in, h, w].
    return (2, 3, 0, 1) if layer.endswith("depthwise_conv") else (3, 2, 0, 1)


def _make_arrays(net, name_layers, prefix=""):
    """Makes random arrays in PyTorch's layout for all layers of a net."""
    rng = np.random.default_rng(0)
    names = name_layers(_layers(net))
    arrays = {}
    for variable in net.variables:
        layer, _, kind = variable.path.split("/", 1)[1].rpartition("/")
        if layer == "normalize":
            continue
        value = rng.normal(size=variable.shape)
        if kind == "kernel":
            value = value.transpose(_to_torch(layer))
        arrays[f"{prefix}{names[layer]}.{_VARIABLES[kind]}"] = value
        if kind == "gamma":
            count = f"{prefix}{names[layer]}.num_batches_tracked"
            arrays[count] = np.array(7)
    return arrays


def _check(net, name_layers, *, prefix="", is_bgr=False):
    arrays = _make_arrays(net, name_layers, prefix)
    arrays["classifier.weight"] = np.zeros((2, 3))
    values, unused = encoder_weights.map_encoder("net.pth", arrays, net)
    assert unused == ["classifier.weight"]
    assert set(values) == {variable.path for variable in net.variables}
    names = name_layers(_layers(net))
    for variable in net.variables:
        layer, _, kind = variable.path.split("/", 1)[1].rpartition("/")
        value = values[variable.path]
        assert value.shape == tuple(variable.shape)
        assert value.dtype == np.float32
        if layer == "normalize":
            np.testing.assert_array_equal(value, variable.numpy())
            continue
        expected = arrays[f"{prefix}{names[layer]}.{_VARIABLES[kind]}"]
        if kind == "kernel":
            expected = expected.transpose(np.argsort(_to_torch(layer)))
            if is_bgr and layer == "stem/conv":
                expected = np.flip(expected, axis=2)
        np.testing.assert_allclose(value, expected, rtol=1e-6)


@pytest.mark.parametrize("prefix", ["", "module.", "backbone."])
def test_resnets_of_torchvision(prefix):
    _check(
        _resnet("torchvision"), encoder_keys.torchvision_resnet, prefix=prefix
    )


@pytest.mark.parametrize("graph", ["detectron2", "torchvision"])
def test_resnets_of_detectron2(graph):
    """They take BGR unless they were trained from torchvision's weights."""
    _check(
        _resnet(graph),
        encoder_keys.detectron2_resnet,
        prefix="backbone.bottom_up.",
        is_bgr=graph == "detectron2",
    )


def test_mobilenets_of_torchvision():
    net = _build(MobileNetV3("small", graph="torchvision"))
    _check(net, encoder_keys.torchvision_mobilenet_v3)


def test_efficientnet_lite():
    _check(_build(EfficientNet("lite0")), encoder_keys.lite_pytorch)


def _to_caffe2(name):
    """Returns the name of a value of detectron2 in its ImageNet files."""
    for theirs, ours in (
        ("stem.conv1.norm", "res_conv1_bn"),
        ("stem.conv1", "conv1"),
        ("shortcut", "branch1"),
        ("conv1", "branch2a"),
        ("conv2", "branch2b"),
        ("conv3", "branch2c"),
    ):
        if theirs in name:
            name = name.replace(theirs, ours)
            break
    for theirs, ours in (
        (".norm.weight", "_bn_s"),
        (".norm.bias", "_bn_b"),
        ("_bn.weight", "_bn_s"),
        ("_bn.bias", "_bn_b"),
        (".norm.running_mean", "_bn_rm"),
        (".norm.running_var", "_bn_riv"),
        ("_bn.running_mean", "_bn_rm"),
        ("_bn.running_var", "_bn_riv"),
        (".weight", "_w"),
    ):
        name = name.replace(theirs, ours)
    return name.replace(".", "_")


@pytest.mark.parametrize("has_statistics", [True, False])
def test_imagenet_files_of_caffe2(has_statistics):
    """Those of Detectron 1 have no statistics: a mean of 0, a variance of 1."""
    net = _resnet("detectron2")
    arrays = _make_arrays(net, encoder_keys.detectron2_resnet)
    arrays = {k: v for k, v in arrays.items() if "num_batches" not in k}
    expected, _ = encoder_weights.map_encoder("net.pkl", arrays, net)
    renamed = {_to_caffe2(name): value for name, value in arrays.items()}
    assert {"conv1_w", "res_conv1_bn_s", "res2_0_branch1_w"} < set(renamed)
    assert "res3_1_branch2c_bn_riv" in renamed
    if not has_statistics:
        renamed = {
            name: value
            for name, value in renamed.items()
            if not name.endswith(("_rm", "_riv"))
        }
    classifier = {"fc1000_w": np.zeros(3), "conv1_b": np.zeros(4)}
    values, unused = encoder_weights.map_encoder(
        "net.pkl", renamed | classifier, net
    )
    assert unused == ["conv1_b", "fc1000_w"]
    assert set(values) == set(expected)
    for path, value in values.items():
        if not has_statistics and path.endswith("moving_mean"):
            assert np.all(value == 0.0)
        elif not has_statistics and path.endswith("moving_variance"):
            assert np.all(value == 1.0)
        else:
            np.testing.assert_array_equal(value, expected[path], path)


def test_variables_without_a_value_are_left_out():
    net = _resnet("torchvision")
    arrays = _make_arrays(net, encoder_keys.torchvision_resnet)
    del arrays["layer2.0.bn2.running_mean"]
    values, _ = encoder_weights.map_encoder("net.pth", arrays, net)
    missing = {variable.path for variable in net.variables} - set(values)
    assert missing == {"backbone/stage3_block1/spatial/bn/moving_mean"}


def _refused(arrays, net):
    with pytest.raises(errors.CheckpointError) as info:
        encoder_weights.map_encoder("folder/net.pth", arrays, net)
    message = str(info.value)
    assert "folder/net.pth" in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("graph", ["deeplab2", "keras", "detectron2"])
def test_the_graph_to_set_is_named(graph):
    net = _resnet(graph)
    arrays = _make_arrays(net, encoder_keys.torchvision_resnet)
    assert (
        'for the graph "torchvision" of this encoder, whose graph is '
        f'"{graph}": set model_options.backbone.graph to "torchvision".'
    ) in _refused(arrays, net)


def test_either_graph_of_detectron2_is_named():
    net = _resnet("deeplab2")
    arrays = _make_arrays(net, encoder_keys.detectron2_resnet)
    assert 'to "detectron2" or "torchvision".' in _refused(arrays, net)


def test_other_files_and_encoders_are_refused():
    net = _resnet("torchvision")
    arrays = _make_arrays(net, encoder_keys.torchvision_resnet)
    assert "of no known network" in _refused({"fc.weight": np.zeros(3)}, net)
    assert "begin with nothing" in _refused({}, net)
    twice = arrays | {f"teacher.{k}": value for k, value in arrays.items()}
    assert "several encoders" in _refused(twice, net)
    larger = arrays | {"layer2.2.conv1.weight": np.zeros((4, 8, 1, 1))}
    message = _refused(larger, net)
    assert "of another variant" in message
    assert "no layer2.2.conv1.weight" in message
    for other in (
        MobileNetV3("small", graph="torchvision"),
        EfficientNet("lite0"),
    ):
        message = _refused(arrays, _build(other))
        assert "of a ResNet of torchvision, which this encoder is" in message
    lite = _build(EfficientNet("lite0"))
    arrays = _make_arrays(lite, encoder_keys.lite_pytorch)
    assert "EfficientNet-Lite" in _refused(arrays, _build(EfficientNet("b0")))
