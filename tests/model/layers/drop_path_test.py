# SPDX-License-Identifier: Apache-2.0
import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model.layers.drop_path import DropPath, scheduled_keep_prob
from deeplab2_like.testing import harness


def test_drop_path_passes_the_harness(tmp_path):
    harness.check_layer(lambda: DropPath(0.5, name="drop_path"), tmp_path)


def test_whole_samples_are_dropped_and_the_others_scaled():
    x = np.random.default_rng(0).uniform(1, 2, (64, 3, 2, 5)).astype("float32")
    y = DropPath(0.8, seed=1, name="drop_path")(x, training=True).numpy()
    kept = np.any(y != 0.0, axis=(1, 2, 3))
    assert 0 < kept.sum() < 64
    np.testing.assert_allclose(y[kept], x[kept] / 0.8, rtol=1e-6)


@pytest.mark.parametrize("keep_prob", [0.2, 0.8, 0.95])
def test_the_share_of_kept_samples_is_the_probability(keep_prob):
    layer = DropPath(keep_prob, seed=3, name="drop_path")
    y = layer(np.ones((4000, 1, 1, 1), np.float32), training=True).numpy()
    assert np.mean(y != 0.0) == pytest.approx(keep_prob, abs=0.025)
    assert np.mean(y) == pytest.approx(1.0, abs=0.12)


@pytest.mark.parametrize("keep_prob", [0.1, 1.0])
def test_inference_drops_nothing(keep_prob):
    layer = DropPath(keep_prob, name="drop_path")
    x = np.ones((100, 2, 2, 1), np.float32)
    for training in (False, None):
        np.testing.assert_array_equal(layer(x, training=training), x)


def test_every_call_draws_anew_and_the_state_repeats_it():
    x = np.ones((100, 1, 1, 1), np.float32)
    layer = DropPath(0.5, name="drop_path")
    layer.build(x.shape)
    state = layer.generator.state.numpy()
    first = layer(x, training=True)
    assert np.any(first != layer(x, training=True))
    layer.generator.state.assign(state)
    np.testing.assert_array_equal(layer(x, training=True), first)


def test_a_probability_of_one_has_no_state():
    layer = DropPath(1.0, name="drop_path")
    x = np.ones((3, 2, 2, 1), np.float32)
    np.testing.assert_array_equal(layer(x, training=True), x)
    assert not layer.variables


def test_the_state_is_named_below_the_layer():
    outer = keras.Sequential([DropPath(0.5, name="drop_path")], name="outer")
    outer.build((None, 2, 2, 1))
    (state,) = outer.variables
    assert state.path == "outer/drop_path/generator/seed_generator_state"


def test_the_batch_may_be_unknown_while_tracing():
    layer = DropPath(0.5, seed=1, name="drop_path")
    layer.build((None, None, None, 1))
    spec = tf.TensorSpec((None, None, None, 1), tf.float32)
    run = tf.function(lambda x: layer(x, training=True), input_signature=[spec])
    for batch in (1, 7):
        y = run(tf.ones((batch, 2, 3, 1))).numpy()
        assert set(np.unique(y)) <= {0.0, 2.0}


def test_the_linear_schedule_falls_from_the_stem_to_the_last_stage():
    probs = [
        scheduled_keep_prob(0.8, "linear", stride)
        for stride in (2, 4, 8, 16, 32)
    ]
    np.testing.assert_allclose(probs, [1.0, 0.95, 0.9, 0.85, 0.8])


def test_the_constant_schedule_is_constant():
    for stride in (2, 4, 8, 16, 32):
        assert scheduled_keep_prob(0.8, "constant", stride) == 0.8


def test_wrong_values_are_refused():
    with pytest.raises(ValueError, match=r"must be in \(0, 1\]"):
        DropPath(0.0)
    with pytest.raises(ValueError, match="known are constant, linear"):
        scheduled_keep_prob(0.8, "cosine", 4)
