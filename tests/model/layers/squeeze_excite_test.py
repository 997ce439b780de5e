# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like.model.layers.squeeze_excite import SqueezeExcite
from deeplab2_like.testing import harness


def test_squeeze_excite_passes_the_harness(tmp_path):
    harness.check_layer(lambda: SqueezeExcite(3, name="se"), tmp_path)


@pytest.mark.slow
def test_hard_gates_pass_the_harness(tmp_path):
    harness.check_layer(
        lambda: SqueezeExcite(3, gate="hard_sigmoid", name="se"), tmp_path
    )


def test_gates_scale_whole_channels():
    layer = SqueezeExcite(3, name="se")
    x = np.random.default_rng(0).uniform(1.0, 2.0, (2, 4, 5, 6))
    gates = layer(x.astype(np.float32)).numpy() / x
    assert np.ptp(gates, axis=(1, 2)).max() < 1e-6
    assert gates.min() > 0.0
    assert gates.max() < 1.0


def test_gates_of_zero_weights_are_one_half():
    layer = SqueezeExcite(3, name="se")
    layer.build((None, None, None, 4))
    layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
    x = np.ones((1, 2, 2, 4), np.float32)
    np.testing.assert_allclose(layer(x), 0.5 * x)


def test_hard_gates_reach_both_ends():
    layer = SqueezeExcite(3, gate="hard_sigmoid", name="se")
    layer.build((None, None, None, 4))
    bias = layer.weights[-1]
    bias.assign([-3.0, 0.0, 1.5, 3.0])
    layer.expand.kernel.assign(np.zeros(layer.expand.kernel.shape))
    x = np.ones((1, 2, 2, 4), np.float32)
    expected = np.broadcast_to([0.0, 0.5, 0.75, 1.0], x.shape)
    np.testing.assert_allclose(layer(x), expected, atol=1e-6)


def test_an_unknown_gate_is_refused():
    with pytest.raises(ValueError, match="gate is 'tanh' - known are sigmoid"):
        SqueezeExcite(3, gate="tanh")
