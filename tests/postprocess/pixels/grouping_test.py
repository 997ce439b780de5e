# SPDX-License-Identifier: Apache-2.0
"""Nearest centers: exact distances, ties, tiles with many centers."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.graph import device
from deeplab2_like.postprocess.pixels import centers, grouping


@pytest.fixture(params=[False, True], ids=["tiles", "whole"], autouse=True)
def _way(request):
    with device.building_for(accelerator=request.param):
        yield


@functools.cache
def _compile(limit, jit_compile, is_accelerator):
    del is_accelerator  # Functions are traced once for each.

    def group(y, x, count, offset, is_thing):
        found = centers.Centers(y, x, tf.zeros([limit]), count)
        return grouping.group_pixels(found, offset, is_thing)

    return tf.function(group, jit_compile=jit_compile, autograph=False)


def _group(places, offset, is_thing=None, jit_compile=False, limit=None):
    """Groups with centers at (y, x) places, in raster order."""
    limit = limit or max(len(places), 1)
    padded = np.zeros((limit, 2), np.int32)
    padded[: len(places)] = np.reshape(places, (-1, 2))
    if is_thing is None:
        is_thing = np.ones(offset.shape[:2], bool)
    return _compile(limit, jit_compile, device.is_accelerator())(
        tf.constant(padded[:, 0]),
        tf.constant(padded[:, 1]),
        tf.constant(len(places)),
        tf.constant(np.moveaxis(offset, -1, 0), tf.float32),
        tf.constant(is_thing),
    ).numpy()


def _group_slowly(places, offset):
    """Computes the definition in deeplab2's float32 arithmetic."""
    height, width = offset.shape[:2]
    grid = np.stack(np.mgrid[:height, :width], -1).astype(np.float32)
    vote = grid + offset.astype(np.float32)
    distances = []
    for place in places:
        difference = np.square(vote - np.float32(place))
        distances.append(np.sqrt(difference[..., 0] + difference[..., 1]))
    return 1 + np.argmin(distances, axis=0)


def _make_places(rng, count, height, width):
    chosen = np.sort(rng.choice(height * width, count, replace=False))
    return np.stack(np.divmod(chosen, width), -1)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("spread", [0.0, 3.0, 100.0, 5000.0])
def test_groups_equal_the_definition(jit_compile, spread):
    rng = np.random.default_rng(int(spread))
    places = _make_places(rng, 60, 140, 150)
    offset = rng.normal(0, 1, (140, 150, 2)) * spread
    np.testing.assert_array_equal(
        _group(places, offset, jit_compile=jit_compile, limit=70),
        _group_slowly(places, offset),
    )


@pytest.mark.parametrize("jit_compile", [False, True])
def test_equal_distances_go_to_the_first_center(jit_compile):
    # Distances that are equal as numbers and in float32 only if each
    # product is rounded before the sum.
    places = [(0, 10), (10, 0), (10, 20), (20, 10)]
    rng = np.random.default_rng(0)
    shift = rng.normal(0, 3, (21, 21)).astype(np.float32)
    grid = np.stack(np.mgrid[:21, :21], -1)
    vote = np.stack([10 + shift, 10 + shift], -1)
    actual = _group(places, vote - grid, jit_compile=jit_compile)
    np.testing.assert_array_equal(
        actual, _group_slowly(places, (vote - grid).astype(np.float32))
    )


def test_every_pixel_its_own_center():
    places = np.stack(np.divmod(np.arange(40 * 50), 50), -1)
    grouped = _group(places, np.zeros((40, 50, 2)))
    np.testing.assert_array_equal(grouped.ravel(), 1 + np.arange(40 * 50))


def test_other_pixels_and_images_without_centers_get_nothing():
    is_thing = np.zeros((70, 140), bool)
    is_thing[3, 5] = is_thing[66, 139] = True
    grouped = _group([(9, 9)], np.zeros((70, 140, 2)), is_thing)
    np.testing.assert_array_equal(grouped, is_thing)
    assert not _group([], np.zeros((70, 140, 2)), is_thing).any()
