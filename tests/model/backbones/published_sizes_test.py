# SPDX-License-Identifier: Apache-2.0
"""The named networks have the sizes of those that deeplab2 builds.

Millions of parameters of the encoders, moving statistics included, as counted
in deeplab2's own networks (TensorFlow 2.15).
"""

import math

import pytest
import tensorflow as tf

from deeplab2_like.model.backbones import (
    axial_resnet,
    max_deeplab,
    resnet,
    wide_resnet,
)
from deeplab2_like.model.backbones.variation import Variation

_SAC = {"switchable_beyond_stride": 32}


def _slow(*values):
    """Marks a network whose variables take seconds to make."""
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("make", "variation", "millions"),
    [
        (resnet.resnet50, {}, 23.561),
        (resnet.resnet50_beta, {}, 23.685),
        (wide_resnet.wide_resnet41, {}, 109.073),
        _slow(wide_resnet.swidernet, _SAC, 113.011),
        _slow(wide_resnet.swidernet, _SAC | {"depth": 3.0}, 345.217),
        _slow(wide_resnet.swidernet, _SAC | {"depth": 4.5}, 504.744),
        _slow(axial_resnet.axial_swidernet, {}, 136.593),
        _slow(axial_resnet.axial_swidernet, {"depth": 3.0}, 394.529),
        _slow(axial_resnet.axial_swidernet, {"depth": 4.5}, 571.210),
        _slow(axial_resnet.max_deeplab_s_backbone, {}, 41.488),
        (max_deeplab.max_deeplab_l_backbone, {}, 175.362),
    ],
)
def test_the_network_has_as_many_parameters(make, variation, millions):
    # In a graph that is never run, variables take no memory.
    with tf.Graph().as_default():
        backbone = make(16, Variation(**variation))
        backbone.build((None, None, None, 3))
    count = sum(math.prod(v.shape) for v in backbone.variables)
    assert count / 1e6 == pytest.approx(millions, abs=0.0006)
