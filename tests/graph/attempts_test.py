# SPDX-License-Identifier: Apache-2.0
import pytest
import tensorflow as tf

from deeplab2_like.graph import attempts


def _parse(text):
    spare = tf.constant([-1, -1])
    return attempts.attempt(
        lambda x: tf.strings.to_number(tf.strings.split(x), tf.int32),
        text,
        spare,
    )


@pytest.mark.parametrize("is_graph", [False, True])
def test_a_failure_gives_the_default(is_graph):
    parse = tf.function(_parse) if is_graph else _parse
    assert parse(tf.constant("3 4 5")).numpy().tolist() == [3, 4, 5]
    assert parse(tf.constant("3 four")).numpy().tolist() == [-1, -1]


def test_attempts_in_a_loop_do_not_disturb_each_other():
    texts = tf.constant(["1", "one", "2 3", ""])
    sums = tf.map_fn(
        lambda text: tf.reduce_sum(_parse(text)),
        texts,
        fn_output_signature=tf.int32,
    )
    assert sums.numpy().tolist() == [1, -2, 5, 0]
