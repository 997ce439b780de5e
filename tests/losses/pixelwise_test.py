# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.losses import pixelwise


def _softmax_cross_entropy(logits, labels):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=-1))
    chosen = np.take_along_axis(shifted, labels[..., None], axis=-1)[..., 0]
    return log_sum - chosen


def test_hardest_pixels_that_are_zero_do_not_count():
    error = tf.constant([[[0.0, 4.0], [2.0, 0.0]]])
    np.testing.assert_allclose(
        pixelwise.compute_mean_of_hardest(error, 1.0), [3.0]
    )
    np.testing.assert_allclose(
        pixelwise.compute_mean_of_hardest(error, 0.25), [4.0]
    )


def test_an_image_without_error_gives_zero_and_no_nan():
    error = tf.zeros([2, 3, 5])
    for share in (0.2, 1.0):
        np.testing.assert_array_equal(
            pixelwise.compute_mean_of_hardest(error, share), [0.0, 0.0]
        )


def test_semantic_loss_equals_numpy_with_ignored_class_inside_the_classes():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 7, 9, 4)).astype(np.float32)
    labels = rng.integers(0, 4, (2, 7, 9)).astype(np.int32)
    weights = rng.uniform(0.5, 3.0, (2, 7, 9)).astype(np.float32)
    loss = pixelwise.compute_semantic_loss(
        logits, labels, weights, ignore_label=0, top_k_percent=0.3
    )
    error = _softmax_cross_entropy(logits, labels) * weights
    error = np.where(labels == 0, 0.0, error).reshape(2, -1)
    keep = round(0.3 * 63)
    expected = [np.sort(row)[::-1][:keep].mean() for row in error]
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize("top_k_percent", [0.2, 1.0])
def test_unknown_sizes_and_xla_give_the_eager_result(top_k_percent):
    rng = np.random.default_rng(1)
    error = rng.uniform(size=(2, 8, 11)).astype(np.float32)

    def compute(x):
        return pixelwise.compute_mean_of_hardest(x, top_k_percent)

    eager = compute(tf.constant(error))
    unknown = tf.function(
        compute, input_signature=[tf.TensorSpec([None, None, None])]
    )
    np.testing.assert_allclose(unknown(error), eager, rtol=1e-6)
    jitted = tf.function(compute, jit_compile=True)
    np.testing.assert_allclose(jitted(error), eager, rtol=1e-6)


@pytest.mark.parametrize("mode", ["static", "unknown", "xla", "xla_unknown"])
@pytest.mark.parametrize(
    ("size", "share", "expected"),
    [((5, 5), 0.1, 2), ((3, 5), 0.3, 4), ((5, 6), 0.15, 4), ((5, 7), 0.1, 4)],
)
def test_the_number_of_hardest_pixels_is_rounded_as_in_the_reference(
    mode, size, share, expected
):
    """In float32, half to even; float64 would keep 3, 5, 5 and 4 pixels."""
    # A field of a config is float32.
    share = float(np.float32(share))
    values = np.arange(1, 1 + size[0] * size[1], dtype=np.float32)
    error = values.reshape(1, *size)

    def compute(x):
        return pixelwise.compute_mean_of_hardest(x, share)

    if mode != "static":
        is_unknown = mode.endswith("unknown")
        compute = tf.function(
            compute,
            jit_compile=mode.startswith("xla"),
            input_signature=[tf.TensorSpec([None] * 3)] if is_unknown else None,
        )
    loss = compute(tf.constant(error))
    np.testing.assert_allclose(loss, [values[-expected:].mean()], rtol=1e-6)


@pytest.mark.parametrize(
    ("pixel_error", "expected"),
    [
        (pixelwise.compute_squared_error, (9 + 16) / 2),
        (pixelwise.compute_absolute_error, (3 + 4) / 2),
    ],
)
def test_errors_are_means_over_the_channels(pixel_error, expected):
    prediction = tf.constant([[[[3.0, -4.0]]]])
    error = pixel_error(prediction, tf.zeros([1, 1, 1, 2]))
    np.testing.assert_allclose(error, [[[expected]]])
