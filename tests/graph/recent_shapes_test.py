# SPDX-License-Identifier: Apache-2.0
import gc
import weakref

import numpy as np
import tensorflow as tf

from deeplab2_like.graph import recent_shapes


def test_a_shape_is_traced_once_while_it_is_recent(caplog):
    traced = []

    @recent_shapes.trace
    def add(values, number):
        traced.append((tuple(values.shape), number))
        return values + number

    for _ in range(2):
        for size in range(8):
            found = add(tf.zeros([size]), 3)
            np.testing.assert_array_equal(found, np.full(size, 3.0))
    assert traced == [((size,), 3) for size in range(8)]
    add(tf.zeros([0]), 4)
    add(tf.zeros([0], tf.int32), 3)
    assert traced[8:] == [((0,), 4), ((0,), 3)]
    assert "retracing" not in caplog.text


def test_other_shapes_are_forgotten():
    graphs = []

    @recent_shapes.trace
    def double(values):
        graphs.append(weakref.ref(tf.compat.v1.get_default_graph()))
        return values * 2

    for size in range(40):
        double(tf.zeros([size]))
    gc.collect()
    assert len(graphs) == 40
    assert sum(graph() is not None for graph in graphs) <= 10
