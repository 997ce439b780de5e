# SPDX-License-Identifier: Apache-2.0
import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model import complexity
from deeplab2_like.model.layers import convolution


def _make_small():
    model = keras.Sequential(
        [
            keras.layers.Conv2D(4, 3, strides=2, padding="same", name="a"),
            keras.layers.DepthwiseConv2D(3, dilation_rate=2, padding="same"),
            keras.layers.Conv2D(8, 1, use_bias=False, name="b"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(5),
        ]
    )
    model.build((None, None, None, 3))
    return model


def test_a_small_network_is_counted_as_by_hand():
    found = complexity.compute_complexity(_make_small, (10, 14))
    assert found.num_parameters == (
        (3 * 3 * 3 * 4 + 4) + (3 * 3 * 4 + 4) + 4 * 8 + (8 * 5 + 5)
    )
    pixels = 5 * 7
    assert found.multiply_adds == (
        pixels * 4 * 27 + pixels * 4 * 9 + pixels * 8 * 4 + 8 * 5
    )
    assert found.num_variables == 7
    assert found.num_backbone_parameters == 0


def test_parameters_are_those_of_the_real_network():
    model = _make_small()
    found = complexity.compute_complexity(_make_small, (9, 9))
    assert found.num_parameters == model.count_params()
    assert found.num_variables == len(model.variables)


def test_a_dilated_separable_convolution_costs_what_a_plain_one_costs():
    def count(rate, size):
        def make():
            layer = convolution.SeparableConvBNAct(
                6, 5, dilation_rate=rate, name="layer"
            )
            inputs = keras.Input((None, None, 3))
            return keras.Model(inputs, layer(inputs))

        return complexity.compute_complexity(make, size).multiply_adds

    size = (11, 13)
    by_hand = 11 * 13 * (3 * 25 + 3 * 6)
    assert count(1, size) == count(3, size) == by_hand


@pytest.mark.parametrize(
    ("compute", "expected"),
    [
        (lambda a, b: tf.matmul(a, b), 2 * 3 * 5 * 4),
        (lambda a, b: tf.einsum("bik,bkj->bij", a, b), 2 * 3 * 5 * 4),
        (lambda a, b: tf.linalg.matmul(b, a, True, True), 2 * 5 * 3 * 4),
        (lambda a, b: tf.matmul(a[0], b[1]), 3 * 5 * 4),
        (lambda a, b: tf.matmul(a[0], b[1], False, False) * 2.0, 3 * 5 * 4),
        (lambda a, b: tf.einsum("bik->kib", a) + 0 * b[0, 0, 0], 0),
    ],
)
def test_matrix_products_are_counted(compute, expected):
    with tf.Graph().as_default() as graph:
        compute(tf.zeros([2, 3, 4]), tf.zeros([2, 4, 5]))
    total = sum(map(complexity.count_multiply_adds, graph.get_operations()))
    assert total == expected


def test_a_hidden_part_is_refused():
    @tf.function
    def hidden(x):
        return tf.matmul(x, x)

    with tf.Graph().as_default() as graph:
        hidden(tf.zeros([2, 2]))
    with pytest.raises(ValueError, match="is a call"):
        sum(map(complexity.count_multiply_adds, graph.get_operations()))


@pytest.mark.parametrize("is_product", [False, True])
def test_loops_are_refused_if_they_hide_something_to_count(is_product):
    def step(number, x):
        return number + 1, tf.matmul(x, x) if is_product else x + 1.0

    with tf.Graph().as_default() as graph:
        tf.while_loop(lambda i, _: i < 3, step, (0, tf.zeros([2, 2])))
    operations = graph.get_operations()
    assert any("While" in operation.type for operation in operations)
    if is_product:
        with pytest.raises(ValueError, match=r"is a call .*MatMul"):
            sum(map(complexity.count_multiply_adds, operations))
    else:
        assert sum(map(complexity.count_multiply_adds, operations)) == 0


def test_counting_leaves_no_weights_behind():
    before = keras.config.dtype_policy()
    complexity.compute_complexity(_make_small, (9, 9))
    assert keras.config.dtype_policy() == before
    assert tf.executing_eagerly()
    assert np.isfinite(_make_small()(np.zeros([1, 9, 9, 3]))).all()
