# SPDX-License-Identifier: Apache-2.0
import keras
import numpy as np
import pytest

from deeplab2_like.model.layers.dropout import Dropout
from deeplab2_like.testing import harness

_ONES = np.ones((8, 10, 10, 4), np.float32)


def test_dropout_passes_the_harness(tmp_path):
    harness.check_layer(lambda: Dropout(0.5, name="dropout"), tmp_path)


def test_the_mean_stays_and_the_share_is_the_rate():
    y = Dropout(0.25, seed=1, name="dropout")(_ONES, training=True).numpy()
    assert np.mean(y == 0.0) == pytest.approx(0.25, abs=0.03)
    np.testing.assert_allclose(y[y > 0.0], 1.0 / 0.75)


def test_every_call_draws_another_mask_and_the_state_repeats_it():
    layer = Dropout(0.5, name="dropout")
    layer.build(_ONES.shape)
    state = layer.generator.state.numpy()
    first = layer(_ONES, training=True)
    second = layer(_ONES, training=True)
    assert np.any(first != second)
    layer.generator.state.assign(state)
    np.testing.assert_array_equal(layer(_ONES, training=True), first)


def test_the_seed_of_the_program_decides():
    masks = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        masks.append(Dropout(0.5, name="dropout")(_ONES, training=True))
    np.testing.assert_array_equal(masks[0], masks[1])
    assert np.any(masks[0] != masks[2])


def test_a_rate_of_zero_has_no_state():
    layer = Dropout(0.0, name="dropout")
    np.testing.assert_array_equal(layer(_ONES, training=True), _ONES)
    assert not layer.variables


def test_a_rate_of_one_is_refused():
    with pytest.raises(ValueError, match="must be in"):
        Dropout(1.0)


def test_the_state_is_named_below_the_layer():
    outer = keras.Sequential([Dropout(0.5, name="dropout")], name="outer")
    outer.build((None, 2, 2, 1))
    (state,) = outer.variables
    assert state.path == "outer/dropout/generator/seed_generator_state"
