# SPDX-License-Identifier: Apache-2.0
import numpy as np

from deeplab2_like.model.layers.squeeze_excite import SqueezeExcite
from deeplab2_like.testing import harness


def test_squeeze_excite_passes_the_harness(tmp_path):
    harness.check_layer(lambda: SqueezeExcite(3, name="se"), tmp_path)


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
