# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model.decoders import feature_pyramid
from deeplab2_like.model.decoders.two_way_pyramid import TwoWayPyramid
from deeplab2_like.testing import harness, reference

ENDPOINTS = {"res2": 8, "res3": 12, "res4": 16, "res5": 20}


def _shapes(batch, height, width):
    return {
        name: (batch, (height - 1) // s + 1, (width - 1) // s + 1, number)
        for s, (name, number) in zip(
            (4, 8, 16, 32), ENDPOINTS.items(), strict=True
        )
    }


@pytest.mark.parametrize(
    "conv_type",
    [
        "depthwise_separable_conv",
        pytest.param("standard_conv", marks=pytest.mark.slow),
    ],
)
def test_the_pyramid_passes_the_harness(conv_type, tmp_path):
    harness.check_layer(
        lambda: TwoWayPyramid(6, conv_type=conv_type, name="pyramid"),
        tmp_path,
        shapes=[_shapes(2, 65, 97), _shapes(1, 64, 50)],
    )


@pytest.mark.parametrize("size", [(129, 257), (360, 480), (100, 31)])
def test_levels_have_the_strides_4_to_64(size):
    pyramid = TwoWayPyramid(6)
    shapes = _shapes(1, *size)
    pyramid.build(shapes)
    levels = pyramid({key: tf.ones(shape) for key, shape in shapes.items()})
    for level, stride in feature_pyramid.STRIDES.items():
        expected = [(side - 1) // stride + 1 for side in size]
        assert levels[level].shape == (1, *expected, 6)


def test_every_tap_reaches_every_level():
    pyramid = TwoWayPyramid(6)
    shapes = _shapes(1, 65, 65)
    pyramid.build(shapes)
    rng = np.random.default_rng(0)
    inputs = {
        name: tf.constant(rng.normal(size=shape).astype(np.float32))
        for name, shape in shapes.items()
    }
    before = pyramid(inputs)
    for name in ENDPOINTS:
        after = pyramid(inputs | {name: inputs[name] + 1.0})
        for level in feature_pyramid.STRIDES:
            assert np.abs(after[level] - before[level]).max() > 1e-4


def _count(conv_type):
    pyramid = TwoWayPyramid(256, conv_type=conv_type)
    channels = zip(ENDPOINTS, (40, 64, 176, 2048), strict=True)
    pyramid.build({name: (None, None, None, c) for name, c in channels})
    return sum(int(np.prod(v.shape)) for v in pyramid.trainable_variables)


def test_parameters_are_as_many_as_published():
    assert _count("standard_conv") == 3_557_376
    path = reference.folder() / "peer_head_parameter_counts.json"
    if path.exists():
        counts = json.loads(path.read_text())
        published = counts["TwoWayFPN([40,64,176,2048]->256)"]
        assert published == 3_557_376
    # Depthwise 3x3 with its batch norm, instead of a full 3x3.
    fewer = 4 * (9 * 256 * 256 - (9 * 256 + 2 * 256) - 256 * 256)
    assert _count("depthwise_separable_conv") == 3_557_376 - fewer
