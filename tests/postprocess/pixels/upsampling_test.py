# SPDX-License-Identifier: Apache-2.0
"""Upsampled maps and winning classes against TensorFlow's own resizing."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.postprocess.pixels import semantic, upsampling

# Stride 4 of legal sizes and of any size, stride 8 and 1, odd ratios,
# single rows and columns, smaller than the source.
SIZES = [
    ((17, 33), (65, 129)),
    ((16, 32), (64, 128)),
    ((16, 32), (62, 126)),
    ((9, 17), (65, 129)),
    ((9, 17), (9, 17)),
    ((9, 17), (22, 41)),
    ((2, 2), (5, 5)),
    ((1, 5), (3, 17)),
    ((5, 1), (17, 4)),
    ((1, 1), (1, 1)),
    ((12, 20), (7, 9)),
]


def _resize(maps, size):
    return tf.raw_ops.ResizeBilinear(
        images=maps, size=size, align_corners=True
    ).numpy()


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_maps_equal_resize_bilinear(source, target):
    rng = np.random.default_rng(0)
    maps = rng.normal(0, 5, (1, *source, 3)).astype(np.float32)
    actual = upsampling.upsample_maps(tf.transpose(maps[0], [2, 0, 1]), target)
    np.testing.assert_allclose(
        np.moveaxis(actual.numpy(), 0, -1),
        _resize(maps, target)[0],
        rtol=1e-6,
        atol=1e-6 * np.abs(maps).max(),
    )


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_taps_of_unknown_sizes_are_the_same(source, target):
    for some, other in zip(source, target, strict=True):
        known = upsampling.compute_taps(some, other)
        unknown = upsampling.compute_taps(tf.constant(some), tf.constant(other))
        for a, b in zip(known, unknown, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_taps_at_full_size_are_the_same(jit_compile):
    def compute(image, head):
        return upsampling.compute_taps(tf.shape(head)[0], tf.shape(image)[0])

    compute = tf.function(
        compute,
        jit_compile=jit_compile,
        input_signature=[tf.TensorSpec([None], tf.float32)] * 2,
    )
    for source, target in ((513, 2049), (256, 1024), (161, 641), (160, 639)):
        known = upsampling.compute_taps(source, target)
        unknown = compute(tf.zeros([target]), tf.zeros([source]))
        for a, b in zip(known, unknown, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("are_probabilities", [False, True])
@pytest.mark.parametrize(("source", "target"), SIZES)
def test_classes_and_probabilities_equal_those_of_resized_scores(
    source, target, are_probabilities
):
    rng = np.random.default_rng(1)
    values = rng.normal(0, 3, (1, *source, 7)).astype(np.float32)
    if are_probabilities:
        values = tf.nn.softmax(values).numpy()
    actual = semantic.compute_semantic_map(
        semantic.Scores(tf.constant(values[0]), are_probabilities),
        target,
        tf.constant(target[0]),
    )
    resized = _resize(values, target)[0]
    np.testing.assert_array_equal(actual.category, resized.argmax(-1))
    if not are_probabilities:
        resized = tf.nn.softmax(resized).numpy()
    np.testing.assert_allclose(actual.probability, resized.max(-1), atol=1e-5)


@pytest.mark.parametrize(
    ("source", "target"),
    [*SIZES, ((15, 16), (60, 64)), ((3, 1), (12, 4)), ((120, 128), (480, 512))],
)
def test_half_pixel_centers_are_those_of_tensorflow(source, target):
    rng = np.random.default_rng(4)
    values = rng.normal(0, 3, (1, *source, 5)).astype(np.float32)
    expected = tf.raw_ops.ResizeBilinear(
        images=values, size=target, half_pixel_centers=True
    )[0].numpy()

    def compute(values, height, width):
        return semantic.compute_semantic_map(
            semantic.Scores(values, is_half_pixel=True),
            (height, width),
            height,
        )

    known = semantic.compute_semantic_map(
        semantic.Scores(tf.constant(values[0]), is_half_pixel=True),
        target,
        tf.constant(target[0]),
    )
    unknown = tf.function(compute, autograph=False)(
        tf.constant(values[0]), *map(tf.constant, target)
    )
    for found in (known, unknown):
        np.testing.assert_array_equal(found.category, expected.argmax(-1))
        best = tf.nn.softmax(expected).numpy().max(-1)
        np.testing.assert_allclose(found.probability, best, atol=1e-5)


@pytest.mark.slow
def test_many_classes_and_strips(monkeypatch):
    monkeypatch.setattr(semantic, "_STRIP_VALUES", 1 << 17)
    rng = np.random.default_rng(2)
    values = rng.normal(0, 3, (1, 33, 65, 150)).astype(np.float32)
    actual = tf.function(semantic.compute_semantic_map, autograph=False)(
        semantic.Scores(tf.constant(values[0])), (129, 257), tf.constant(129)
    )
    resized = _resize(values, (129, 257))[0]
    np.testing.assert_array_equal(actual.category, resized.argmax(-1))


@pytest.mark.parametrize("target", [(5, 9), (17, 33)])
def test_of_equally_good_classes_the_first_wins(target):
    values = np.zeros((5, 9, 4), np.float32)
    values[..., [1, 3]] = 2.0
    actual = semantic.compute_semantic_map(
        semantic.Scores(tf.constant(values)), target, tf.constant(target[0])
    )
    assert np.all(actual.category == 1)


@pytest.mark.parametrize("are_probabilities", [False, True])
@pytest.mark.parametrize("target", [(10, 16), (37, 61), (37, 70)])
def test_probabilities_of_other_classes(target, are_probabilities):
    rng = np.random.default_rng(3)
    values = rng.normal(0, 3, (1, 10, 16, 5)).astype(np.float32)
    if are_probabilities:
        values = tf.nn.softmax(values).numpy()
    scores = semantic.Scores(tf.constant(values[0]), are_probabilities)
    winner = semantic.compute_semantic_map(
        scores, target, tf.constant(target[0])
    )
    category = rng.integers(0, 5, target).astype(np.int32)
    category[:20] = winner.category[:20]
    y, x = (places.ravel() for places in np.mgrid[: target[0], : target[1]])
    actual = semantic.compute_probability_at(
        scores,
        winner._replace(packed=tf.reshape(winner.packed, [-1])),
        target,
        (tf.constant(y, tf.int32), tf.constant(x, tf.int32)),
        tf.constant(category.ravel()),
    )
    expected = _resize(values, target)[0]
    if not are_probabilities:
        expected = tf.nn.softmax(expected).numpy()
    expected = np.take_along_axis(expected, category[..., None], -1)
    np.testing.assert_allclose(actual, expected.ravel(), atol=1e-5)


def test_rows_that_are_not_valid_may_be_left_out():
    values = tf.random.stateless_normal([9, 17, 7], seed=[0, 1])
    scores = semantic.Scores(values)
    whole = semantic.compute_semantic_map(scores, (33, 65), tf.constant(33))
    part = semantic.compute_semantic_map(scores, (33, 65), tf.constant(5))
    np.testing.assert_array_equal(part.category[:5], whole.category[:5])
