# SPDX-License-Identifier: Apache-2.0
import numpy as np

from deeplab2_like.model.layers.simple_squeeze_excite import (
    SimpleSqueezeExcite,
)
from deeplab2_like.testing import harness


def test_the_layer_passes_the_harness(tmp_path):
    harness.check_layer(
        lambda: SimpleSqueezeExcite(name="squeeze_excite"), tmp_path
    )


def test_the_gate_is_a_hard_sigmoid_of_one_convolution():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 5, 3, 4)).astype("float32")
    layer = SimpleSqueezeExcite(name="squeeze_excite")
    layer.build(x.shape)
    kernel = rng.normal(size=(1, 1, 4, 4)) * 4
    bias = rng.normal(size=4)
    layer.gate.kernel.assign(kernel)
    layer.gate.bias.assign(bias)
    gates = x.mean(axis=(1, 2)) @ kernel[0, 0] + bias
    gates = np.clip(gates + 3, 0, 6) / 6
    assert gates.min() == 0.0
    np.testing.assert_allclose(layer(x), x * gates[:, None, None], rtol=1e-4)
