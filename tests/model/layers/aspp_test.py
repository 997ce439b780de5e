# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model.layers.aspp import ASPP, average_pool, pool_size_of
from deeplab2_like.testing import harness


@pytest.mark.parametrize(
    "options",
    [
        {"pool_size": (3, 5)},
        {"pool_size": None},
        {"only_projection": True},
    ],
)
def test_aspp_passes_the_harness(options, tmp_path):
    harness.check_layer(
        lambda: ASPP(4, (1, 2, 3), name="aspp", **options),
        tmp_path,
        shapes=((2, 5, 7, 6), (1, 4, 6, 6)),
    )


def test_the_pooling_window_follows_from_the_crop():
    assert pool_size_of((1025, 2049), 32) == [33, 65]
    assert pool_size_of((641, 641), 16) == [41, 41]
    assert pool_size_of((96, 128), 16) == [6, 8]


def _numpy_average_pool(x, window):
    height = min(window[0], x.shape[1])
    width = min(window[1], x.shape[2])
    windows = np.lib.stride_tricks.sliding_window_view(
        x, (height, width), axis=(1, 2)
    )
    return windows.mean(axis=(-2, -1))


@pytest.mark.parametrize(
    ("size", "window"),
    [
        ((5, 7), (4, 5)),
        ((5, 7), (5, 7)),
        ((5, 7), (9, 3)),
        ((3, 2), (4, 5)),
        ((6, 6), (1, 1)),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_the_window_slides_and_is_clipped(size, window, known):
    x = np.random.default_rng(0).normal(size=(2, *size, 3))
    x = x.astype(np.float32)
    spec = tf.TensorSpec(x.shape if known else (None, None, None, 3))
    pool = tf.function(
        lambda x: average_pool(x, window), input_signature=[spec]
    )
    np.testing.assert_allclose(
        pool(x), _numpy_average_pool(x, window), atol=1e-5
    )


def test_a_window_of_the_whole_map_gives_a_constant_branch():
    layer = ASPP(4, (1, 2, 3), pool_size=(99, 99), name="aspp")
    x = np.random.default_rng(0).normal(size=(1, 5, 6, 3))
    whole = ASPP(4, (1, 2, 3), pool_size=None, name="aspp")
    expected = whole(x.astype(np.float32))
    layer.build(x.shape)
    layer.set_weights(whole.get_weights())
    np.testing.assert_allclose(layer(x), expected, atol=1e-6)


def test_the_window_grows_with_the_images():
    x = np.random.default_rng(0).normal(size=(1, 9, 13, 3)).astype(np.float32)
    layer = ASPP(4, (1, 2, 3), pool_size=(3, 5), name="aspp")
    larger = ASPP(4, (1, 2, 3), pool_size=(5, 9), name="aspp")
    expected = larger(x)
    layer.build(x.shape)
    layer.set_weights(larger.get_weights())
    np.testing.assert_array_equal(layer(x, image_scale=2.0), expected)
    assert np.abs(layer(x) - expected).max() > 1e-3


def test_dropout_acts_in_training_only():
    layer = ASPP(64, (1, 2, 3), dropout_rate=0.5, name="aspp")
    x = np.random.default_rng(0).normal(size=(1, 9, 9, 3))
    x = x.astype(np.float32)
    zeros = np.mean(layer(x, training=False).numpy() == 0.0)
    zeros_training = np.mean(layer(x, training=True).numpy() == 0.0)
    assert zeros < 0.65
    assert zeros_training > 0.65
