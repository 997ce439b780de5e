# SPDX-License-Identifier: Apache-2.0
import functools

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.data import autoaugment, policy_operations

NAME = "simple_classification_policy"
SCALED = f"{NAME}_magnitude_scale_0.2"
# Of deeplab2's autoaugment_policy.py, as it writes them: number of the
# operation, of the probability, and the magnitude, twice a line.
NUMBERS = """
    8 2 7  7 1 10
    1 0 9  6 1 10
    8 1 9  5 1 9
    4 1 7  1 3 9
    8 1 1  1 1 7
"""
OPERATIONS = {
    1: "Equalize",
    4: "Solarize",
    5: "Color",
    6: "Contrast",
    7: "Brightness",
    8: "Sharpness",
}
PROBABILITIES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@pytest.mark.parametrize(("name", "scale"), [(NAME, 1), (SCALED, 0.2)])
def test_the_policies_are_those_of_deeplab2(name, scale):
    numbers = np.array(NUMBERS.split(), int).reshape(5, 2, 3)
    for pair, lines in zip(autoaugment.load_policy(name), numbers, strict=True):
        for operation, (kind, chance, magnitude) in zip(
            pair, lines, strict=True
        ):
            assert operation.name == OPERATIONS[kind]
            assert operation.probability == PROBABILITIES[chance]
            assert operation.magnitude == magnitude * scale


@pytest.mark.parametrize(
    "name", ["", "simple", f"{NAME}_magnitude_scale_", f"{SCALED}x"]
)
def test_other_names_are_refused(name):
    with pytest.raises(errors.ConfigError, match="which is no policy"):
        autoaugment.load_policy(name)


def make_image(size=(24, 31), seed=0):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (*size, 3), dtype=np.uint8)


@functools.cache
def make_function(name):
    policy = autoaugment.load_policy(name)
    return tf.function(
        lambda image, size, uniform: autoaugment.apply(
            image, size, uniform, policy
        ),
        input_signature=[
            tf.TensorSpec([None, None, 3], tf.uint8),
            tf.TensorSpec([2], tf.int32),
            tf.TensorSpec([3]),
        ],
    )


def apply(image, uniform, size=None, name=SCALED):
    size = image.shape[:2] if size is None else size
    return make_function(name)(image, size, np.float32(uniform)).numpy()


NEVER = 0.999


@pytest.mark.parametrize("pair", range(5))
def test_no_operation_leaves_the_image(pair):
    image = make_image()
    place = (pair + 0.5) / 5
    changed = apply(image, [place, NEVER, NEVER], (48, 62))
    np.testing.assert_array_equal(changed, image)


@pytest.mark.parametrize(
    ("pair", "draws", "change"),
    [
        (0, (0, NEVER), lambda i: policy_operations.sharpen(i, 0.352)),
        (0, (0.39, NEVER), lambda i: policy_operations.sharpen(i, 0.352)),
        (
            0,
            (0, 0),
            lambda i: policy_operations.change_brightness(
                policy_operations.sharpen(i, 0.352), 0.46
            ),
        ),
        # Its first operation has the probability 0.
        (1, (0, 0), lambda i: policy_operations.change_contrast(i, 0.46)),
        (2, (NEVER, 0.1), lambda i: policy_operations.change_color(i, 0.424)),
        (
            3,
            (0.1, 0.59),
            lambda i: policy_operations.equalize(
                policy_operations.solarize(i, 35)
            ),
        ),
        (4, (0, NEVER), lambda i: policy_operations.sharpen(i, 0.136)),
        (4, (NEVER, 0), policy_operations.equalize),
    ],
)
def test_the_operations_that_are_drawn_are_done(pair, draws, change):
    image = make_image()
    changed = apply(image, [(pair + 0.5) / 5, *draws])
    assert changed.dtype == np.uint8
    np.testing.assert_array_equal(changed, change(image))


def test_operations_see_the_whole_scaled_image():
    image = make_image((20, 30))
    scaled = tf.compat.v1.image.resize(
        image[None].astype(np.float32), (33, 51), align_corners=True
    )
    expected = policy_operations.equalize(scaled[0].numpy().astype(np.uint8))
    changed = apply(image, [0.9, NEVER, 0], (33, 51))
    np.testing.assert_array_equal(changed, expected)


def test_operations_are_done_as_often_as_their_probabilities_say():
    image = make_image()
    policy = autoaugment.load_policy(SCALED)

    @tf.function
    def is_changed(uniform_n3):
        return tf.map_fn(
            lambda uniform: tf.reduce_any(
                autoaugment.apply(image, image.shape[:2], uniform, policy)
                != image
            ),
            uniform_n3,
            fn_output_signature=tf.bool,
        )

    draws = np.random.default_rng(0).random((1000, 3), np.float32)
    done = np.mean(is_changed(draws))
    idle = [np.prod([1 - op.probability for op in pair]) for pair in policy]
    assert abs(done - (1 - np.mean(idle))) < 0.05


def test_the_largest_draw_is_of_the_last_pair():
    image = make_image()
    almost_one = np.nextafter(np.float32(1), np.float32(0))
    changed = apply(image, [almost_one, almost_one, 0])
    expected = policy_operations.equalize(image)
    np.testing.assert_array_equal(changed, expected)
