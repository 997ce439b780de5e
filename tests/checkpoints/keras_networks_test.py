# SPDX-License-Identifier: Apache-2.0
"""ResNets and MobileNetV3 of keras.applications give its own outputs here."""

import types

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.checkpoints import (
    conversion,
    encoder_weights,
    initialization,
    keras_files,
)
from deeplab2_like.config import run_config
from deeplab2_like.model.backbones.mobilenet_v3 import MobileNetV3
from deeplab2_like.model.backbones.resnet import ResNet, resnet50, resnet101
from deeplab2_like.model.backbones.stages import StageSpec

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

_ODD, _EVEN = (65, 97), (64, 96)
_OURS = {
    "ResNet50": lambda graph: resnet50(graph=graph),
    "ResNet101": lambda graph: resnet101(graph=graph),
    "MobileNetV3Small": lambda graph: MobileNetV3("small", graph=graph),
    "MobileNetV3Large": lambda graph: MobileNetV3("large", graph=graph),
}
# Endpoint -> layer of Keras that it is the output of, or whose output's
# activation it is.
_LAYERS = {
    "ResNet50": {
        "res1": "conv1_relu",
        **{
            f"res{stage}": f"conv{stage}_block{count}_out"
            for stage, count in ((2, 3), (3, 4), (4, 6), (5, 3))
        },
    },
    "ResNet101": {
        "res4": "conv4_block23_out",
        "res5": "conv5_block3_out",
    },
    "MobileNetV3Small": {
        "res2": ("expanded_conv_depthwise_bn", "relu"),
        "res3": ("expanded_conv_2_depthwise_bn", "relu"),
        "res4": ("expanded_conv_7_depthwise_bn", "hard_swish"),
        "res5": ("conv_1_bn", "hard_swish"),
    },
    "MobileNetV3Large": {
        "res1": ("expanded_conv_depthwise_bn", "relu"),
        "res2": ("expanded_conv_2_depthwise_bn", "relu"),
        "res3": ("expanded_conv_5_depthwise_bn", "relu"),
        "res4": ("expanded_conv_11_depthwise_bn", "hard_swish"),
        "res5": ("conv_1_bn", "hard_swish"),
    },
}


def _make_net(name, *, size=_ODD, top=False, weights_of=None):
    """Makes a net of keras.applications with random weights, or others."""
    keras.utils.set_random_seed(0)
    classes = {"classes": 5} if top else {}
    net = getattr(keras.applications, name)(
        include_top=top, weights=None, input_shape=(*size, 3), **classes
    )
    if weights_of is not None:
        net.set_weights(weights_of.get_weights())
        return net
    rng = np.random.default_rng(0)
    for variable in net.variables:
        kind = variable.path.rpartition("/")[2]
        if kind == "moving_variance":
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif kind == "gamma":
            # Sums of many blocks must not grow without bounds.
            variable.assign(rng.uniform(0.3, 0.6, variable.shape))
        elif kind in ("moving_mean", "beta", "bias"):
            variable.assign(rng.normal(0.0, 0.2, variable.shape))
    return net


def _compute_endpoints(name, net, image):
    """Returns the endpoints that Keras computes of an image in 0..255."""
    if name.startswith("ResNet"):
        image = keras.applications.resnet.preprocess_input(image.copy())
    outputs = {}
    for endpoint, layer in _LAYERS[name].items():
        layer, activation = (layer, None) if isinstance(layer, str) else layer
        output = net.get_layer(layer).output
        if activation:
            output = getattr(keras.ops, activation)(output)
        outputs[endpoint] = output
    return keras.Model(net.input, outputs)(image, training=False)


def _make_image(size):
    rng = np.random.default_rng(5)
    return rng.integers(0, 256, (1, *size, 3)).astype(np.float32)


def _arrays(net):
    return {
        f"{layer.name}/{variable.path.rpartition('/')[2]}": variable.numpy()
        for layer in net.layers
        for variable in layer.variables
        if "seed_generator" not in variable.path
    }


def _assign(ours, values):
    assert set(values) == {variable.path for variable in ours.variables}
    for variable in ours.variables:
        variable.assign(values[variable.path])


def _build(name, graph="keras"):
    ours = _OURS[name](graph)
    ours.build((None, None, None, 3))
    return ours


def _cases():
    """Yields nets and sizes of images; slow: all but one."""
    for name in _OURS:
        for size in (_EVEN, _ODD):
            is_fast = (name, size) == ("MobileNetV3Small", _EVEN)
            marks = [] if is_fast else [pytest.mark.slow]
            yield pytest.param(name, size, marks=marks)


@pytest.mark.parametrize(("name", "size"), list(_cases()))
def test_nets_give_the_outputs_of_keras(name, size):
    theirs = _make_net(name, size=size)
    ours = _build(name)
    values, unused = encoder_weights.map_encoder(
        "arrays", _arrays(theirs), ours
    )
    assert unused == []
    _assign(ours, values)
    image = _make_image(size)
    expected = _compute_endpoints(name, theirs, image)
    actual = ours(image / 127.5 - 1.0, training=False)
    for endpoint, value in expected.items():
        value = np.asarray(value)
        np.testing.assert_allclose(
            actual[endpoint],
            value,
            atol=2e-5 * np.abs(value).max(),
            err_msg=endpoint,
        )


def _old_name(name):
    """Returns the name that Keras 2 has for a layer of MobileNetV3."""
    for part in ("expand", "depthwise", "project", "squeeze_excite"):
        name = name.replace(f"_{part}", f"/{part}")
    name = name.replace("excite_conv", "excite/Conv")
    name = name.replace("_bn", "/BatchNorm")
    return name.replace("conv", "Conv", name.startswith("conv"))


def _save_as_keras2(net, path):
    with h5py.File(path, "w") as file:
        for layer in net.layers:
            own = _old_name(layer.name)
            for variable in layer.variables:
                leaf = variable.path.rpartition("/")[2]
                if isinstance(layer, keras.layers.DepthwiseConv2D):
                    leaf = leaf.replace("kernel", "depthwise_kernel")
                file[f"{own}/{own}/{leaf}:0"] = variable.numpy()


def _strip_names(path):
    with h5py.File(path, "a") as file:
        file.visititems(lambda _, item: item.attrs.pop("name", None))


@pytest.mark.parametrize(
    ("name", "top", "kind"),
    [
        ("MobileNetV3Small", False, ".weights.h5"),
        ("MobileNetV3Small", True, "of Keras 2"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("MobileNetV3Small", True, ".h5"),
                ("MobileNetV3Small", True, ".keras"),
                ("MobileNetV3Small", False, "of Keras 2"),
                ("MobileNetV3Small", False, "without names"),
                ("MobileNetV3Small", True, "without names"),
                ("ResNet50", True, ".weights.h5"),
                ("ResNet50", False, ".h5"),
                ("ResNet50", True, "without names"),
            )
        ),
    ],
)
def test_every_kind_of_file_gives_every_value(name, top, kind, tmp_path):
    theirs = _make_net(name, top=top)
    path = tmp_path / f"net{kind if kind.startswith('.') else '.weights.h5'}"
    if kind == "of Keras 2":
        _save_as_keras2(theirs, path)
    elif kind in (".h5", ".keras"):
        theirs.save(path)
    else:
        theirs.save_weights(path)
    if kind == "without names":
        _strip_names(path)
    ours = _build(name)
    values, unused = keras_files.load_encoder(
        str(path), types.SimpleNamespace(backbone=ours)
    )
    expected, left = encoder_weights.map_encoder(
        "arrays", _arrays(theirs), ours
    )
    assert set(values) == {variable.path for variable in ours.variables}
    for place, value in expected.items():
        np.testing.assert_array_equal(values[place], value, place)
    assert len(unused) == len(left)
    assert bool(unused) == top


@pytest.fixture(scope="module")
def small():
    return _arrays(_make_net("MobileNetV3Small"))


@pytest.fixture(scope="module")
def our_resnet():
    """A ResNet with the stem of ResNet-50."""
    stages = [StageSpec(2, "bottleneck", 1, (4, 4, 8))]
    net = ResNet(stages, graph="keras")
    net.build((None, None, None, 3))
    return net


def test_convolutions_give_their_biases_to_the_batch_norms(our_resnet):
    rng = np.random.default_rng(0)
    arrays = {
        "conv1_conv/kernel": rng.normal(size=(7, 7, 3, 64)),
        "conv1_conv/bias": rng.normal(size=64),
        "conv1_bn/gamma": np.ones(64),
        "conv1_bn/moving_mean": rng.normal(size=64),
    }
    values, unused = encoder_weights.map_encoder("x", arrays, our_resnet)
    assert unused == []
    np.testing.assert_allclose(
        values["backbone/stem/bn/moving_mean"],
        arrays["conv1_bn/moving_mean"] - arrays["conv1_conv/bias"],
        atol=1e-6,
    )
    # The published stem takes BGR.
    np.testing.assert_allclose(
        values["backbone/stem/conv/kernel"],
        arrays["conv1_conv/kernel"][:, :, ::-1],
        atol=1e-6,
    )
    assert all(value.dtype == np.float32 for value in values.values())


@pytest.mark.parametrize("graph", ["deeplab2", "torchvision"])
def test_other_graphs_are_refused_with_the_field(small, graph):
    ours = _build("MobileNetV3Small", graph)
    message = (
        'for the graph "keras" of this encoder, whose graph is '
        f'"{graph}": set model_options.backbone.graph to "keras"'
    )
    with pytest.raises(errors.CheckpointError, match=message):
        encoder_weights.map_encoder("net.h5", small, ours)


def test_other_nets_are_refused(small, our_resnet):
    with pytest.raises(errors.CheckpointError, match="of a MobileNetV3 of ker"):
        encoder_weights.map_encoder("net.h5", small, our_resnet)
    arrays = small | {"expanded_conv_11_expand/kernel": np.zeros(3)}
    with pytest.raises(errors.CheckpointError, match="of another variant"):
        encoder_weights.map_encoder(
            "net.h5", arrays, _build("MobileNetV3Small")
        )
    # The pre-activated ResNets have no such batch norm.
    arrays = {"conv1_conv/kernel": np.zeros(3), "post_bn/gamma": np.zeros(3)}
    with pytest.raises(errors.CheckpointError, match="of no known network"):
        encoder_weights.map_encoder("v2.h5", arrays, our_resnet)


@pytest.mark.slow
def test_unknown_sizes_are_padded_as_even_ones_in_keras_only():
    net = _make_net("MobileNetV3Small")
    ours = _build("MobileNetV3Small")
    values, _ = encoder_weights.map_encoder("arrays", _arrays(net), ours)
    _assign(ours, values)
    unknown = _make_net("MobileNetV3Small", size=(None, None), weights_of=net)
    even = _make_image(_EVEN)
    theirs = _compute_endpoints("MobileNetV3Small", unknown, even)
    mine = ours(even / 127.5 - 1.0)
    np.testing.assert_allclose(
        mine["res2"], theirs["res2"], atol=2e-5 * np.abs(theirs["res2"]).max()
    )
    odd = tf.zeros([1, 65, 65, 3])
    theirs = _compute_endpoints("MobileNetV3Small", unknown, odd)
    assert theirs["res2"].shape[1] == 16
    assert ours(odd)["res2"].shape[1] == 17


def test_a_model_starts_from_a_file(tiny_run, tmp_path):
    path = tmp_path / "net.weights.h5"
    _make_net("MobileNetV3Small").save_weights(path)
    override = (
        f'model_options {{ initial_checkpoint: "{path}" '
        'backbone { graph: "keras" } }'
    )
    config = run_config.load_checked(str(tiny_run), [override])
    system, model = conversion._build(config)
    report = initialization.initialize(
        config.options.model_options, system, model
    )
    assert set(report.loaded) == {v.path for v in model.backbone.variables}
    assert report.missing == report.unused == []
