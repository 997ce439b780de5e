# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.config import names
from deeplab2_like.model.backbones.efficientnet import (
    STAGES,
    VARIANTS,
    EfficientNet,
)
from deeplab2_like.model.build_backbone import build_backbone, build_named
from deeplab2_like.protos import model_pb2
from deeplab2_like.testing import harness


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "output_stride"), [("b0", 16), ("b0", 32), ("lite0", 16)]
)
def test_the_net_passes_the_harness(variant, output_stride, tmp_path):
    harness.check_model(
        lambda: EfficientNet(variant, output_stride, keep_prob=0.8),
        tmp_path,
        takes_bytes=False,
        tolerance=harness.Tolerance(bfloat16=0.3),
    )


@pytest.mark.parametrize(
    ("output_stride", "size"),
    [(8, (65, 97)), (16, (50, 64)), (32, (33, 60))],
)
def test_endpoints_have_their_strides_at_any_size(output_stride, size):
    backbone = EfficientNet("b0", output_stride)
    endpoints = backbone(np.zeros((1, *size, 3), np.float32))
    assert list(endpoints) == ["res1", "res2", "res3", "res4", "res5"]
    for number, (name, feature) in enumerate(endpoints.items(), 1):
        stride = min(2**number, output_stride)
        expected = tuple((side - 1) // stride + 1 for side in size)
        assert feature.shape[1:3] == expected
        assert feature.shape[3] == backbone.output_channels[name]


@pytest.mark.parametrize(
    ("variant", "channels"),
    [
        ("lite2", [16, 24, 48, 120, 1280]),
        ("lite4", [24, 32, 56, 160, 1280]),
        ("b0", [16, 24, 40, 112, 1280]),
        ("b4", [24, 32, 56, 160, 1792]),
        ("b5", [24, 40, 64, 176, 2048]),
    ],
)
def test_endpoints_have_the_channels_of_their_stages(variant, channels):
    backbone = EfficientNet(variant)
    assert list(backbone.output_channels.values()) == channels


@pytest.mark.parametrize(
    ("variant", "published"),
    [
        ("b0", 4_007_548),
        pytest.param("b5", 28_340_784, marks=pytest.mark.slow),
    ],
)
def test_without_gates_the_net_has_the_other_parameters(variant, published):
    """Published: trainable ones of keras.applications, without classifier."""
    with tf.Graph().as_default():
        net = EfficientNet(variant, squeeze_excite=False)
        net.build((None, None, None, 3))
    gates, channels = 0, net.stem.filters
    for spec, blocks in zip(STAGES, net.stages, strict=True):
        for block in blocks:
            inner, narrow = channels * spec.expansion, channels // 4
            gates += 2 * inner * narrow + inner + narrow
            channels = block.project.filters
    count = sum(math.prod(v.shape) for v in net.trainable_variables)
    assert count + gates == published


@pytest.mark.parametrize(
    ("variant", "published"),
    [
        ("lite0", 4_652_008),
        pytest.param("lite2", 6_092_072, marks=pytest.mark.slow),
        pytest.param("lite1", 5_416_680, marks=pytest.mark.slow),
        # Of these the table of their authors has two digits.
        pytest.param("lite3", 8.2e6, marks=pytest.mark.slow),
        pytest.param("lite4", 13.0e6, marks=pytest.mark.slow),
    ],
)
def test_lite_nets_have_their_published_sizes(variant, published):
    """Published: with a classifier of 1000 classes on 1280 channels."""
    with tf.Graph().as_default():
        net = EfficientNet(variant)
        net.build((None, None, None, 3))
    count = sum(math.prod(v.shape) for v in net.trainable_variables)
    rel = 0.0 if isinstance(published, int) else 0.004
    assert count + 1281 * 1000 == pytest.approx(published, rel=rel, abs=0.0)


def test_lite_nets_are_as_published():
    net = EfficientNet("lite1")
    net.build((None, None, None, 3))
    assert [len(blocks) for blocks in net.stages] == [1, 3, 3, 4, 4, 5, 1]
    assert net.stem.activation == net.top.activation == "relu6"
    for block in (block for blocks in net.stages for block in blocks):
        assert block.squeeze_excite is None
        assert block.depthwise.activation == "relu6"
        assert block.depthwise.padding == "same"
    image = np.array([0.0, 127.0, 255.0], np.float32).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(
        net.normalize(image / 127.5 - 1.0), (image - 127.0) / 128.0, atol=1e-6
    )


@pytest.mark.parametrize(("size", "is_equal"), [((65, 97), 1), ((64, 96), 0)])
def test_paddings_differ_at_even_sizes_only(size, is_equal):
    nets = [EfficientNet("lite0", padding=p) for p in ("symmetric", "same")]
    for net in nets:
        net.build((None, None, None, 3))
    nets[1].set_weights(nets[0].get_weights())
    image = np.random.default_rng(0).uniform(-1, 1, (1, *size, 3)).astype("f4")
    ours, theirs = (net(image)["res5"].numpy() for net in nets)
    assert ours.shape == theirs.shape
    assert np.allclose(ours, theirs, atol=1e-4 * ours.max()) == is_equal


def test_the_activation_is_the_same_everywhere_but_after_projections():
    net = EfficientNet("b0", squeeze_excite=False, activation="leaky_relu")
    net.build((None, None, None, 3))
    found = {"stem": net.stem.activation, "top": net.top.activation}
    for block in (block for blocks in net.stages for block in blocks):
        for part in (block.expand, block.depthwise, block.project):
            if part is not None:
                found[f"{block.name}/{part.name}"] = part.activation
    for name, activation in found.items():
        is_linear = name.endswith("project")
        assert activation == ("none" if is_linear else "leaky_relu"), name


def test_atrous_nets_compute_the_same_at_the_pixels_of_the_strided_one():
    """Exactly so without channel gates, whose means see all pixels."""
    image = np.random.default_rng(0).uniform(-1, 1, (1, 97, 65, 3))
    nets = [
        EfficientNet("b0", stride, squeeze_excite=False)
        for stride in (32, 16, 8)
    ]
    for net in nets:
        net.build((None, None, None, 3))
        for variable, value in zip(
            net.variables, nets[0].variables, strict=True
        ):
            variable.assign(value)
    strided, *atrous = [net(image.astype("f4")) for net in nets]
    for step, endpoints in zip((2, 4), atrous, strict=True):
        fine = endpoints["res5"].numpy()[:, ::step, ::step]
        coarse = strided["res5"].numpy()
        assert fine.shape == coarse.shape
        np.testing.assert_allclose(
            fine, coarse, atol=1e-4 * np.abs(coarse).max()
        )


@pytest.mark.parametrize(
    ("schedule", "first", "last"),
    [("constant", 0.8, 0.8), ("linear", 1.0, 1.0 - 0.2 * 15 / 16)],
)
def test_branches_are_dropped_as_scheduled(schedule, first, last):
    net = EfficientNet("b0", keep_prob=0.8, drop_path_schedule=schedule)
    blocks = [block for blocks in net.stages for block in blocks]
    assert len(blocks) == 16
    assert blocks[0].drop_path.keep_prob == pytest.approx(first)
    assert blocks[-1].drop_path.keep_prob == pytest.approx(last)


def test_only_branches_beside_an_input_are_dropped():
    net = EfficientNet("b0", keep_prob=0.5)
    net.build((None, None, None, 3))
    random = {
        variable.path.split("/")[1]
        for variable in net.variables
        if variable.path.endswith("seed_generator_state")
    }
    assert random == {
        *("block2b", "block3b", "block4b", "block4c"),
        *("block5b", "block5c", "block6b", "block6c", "block6d"),
    }


def test_wrong_values_are_refused():
    with pytest.raises(ValueError, match="variant is 'b8'"):
        EfficientNet("b8")
    with pytest.raises(ValueError, match="output_stride is 4"):
        EfficientNet("b0", 4)
    with pytest.raises(ValueError, match="drop_path_schedule is 'cubic'"):
        EfficientNet("b0", drop_path_schedule="cubic")
    with pytest.raises(ValueError, match="padding is 'valid'"):
        EfficientNet("b0", padding="valid")
    assert len(VARIANTS) == 13


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=[] if name[-2:] in ("b0", "b5") else [pytest.mark.slow],
        )
        for name in names.EFFICIENTNETS
    ],
)
def test_configs_build_every_variant(name):
    net = build_backbone(
        model_pb2.ModelOptions.BackboneOptions(
            name=name,
            output_stride=16,
            use_squeeze_and_excite=True,
            drop_path_keep_prob=0.8,
            drop_path_schedule="linear",
        )
    )
    assert net.get_config()["variant"] == name[-2:]
    assert net.output_stride == 16
    assert net.get_config()["squeeze_excite"]
    last = net.stages[-1][-1].drop_path.keep_prob
    assert 0.8 < last < 0.82


def test_configs_build_lite_nets_as_published_or_changed():
    config = build_named("efficientnet_lite0", 16).get_config()
    assert config["variant"] == "lite0"
    assert not config["squeeze_excite"]
    assert (config["activation"], config["padding"]) == ("relu6", "same")
    changed = build_backbone(
        model_pb2.ModelOptions.BackboneOptions(
            name="efficientnet_lite0",
            activation="leaky_relu",
            padding="symmetric",
        )
    ).get_config()
    assert changed["activation"] == "leaky_relu"
    assert changed["padding"] == "symmetric"


def test_what_it_does_not_have_is_refused():
    options = model_pb2.ModelOptions.BackboneOptions(
        name="efficientnet_b0", use_sac_beyond_stride=32
    )
    with pytest.raises(errors.ConfigError, match="does not have it"):
        build_backbone(options)
    with pytest.raises(errors.ConfigError, match="lite0 does not have it"):
        build_named("efficientnet_lite0", use_squeeze_and_excite=True)
