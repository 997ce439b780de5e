# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.targets import label_runs, pixel_kinds

# Kind -> is_crowd, semantic_weight, center_weight, offset_weight.
_WEIGHTS = {
    pixel_kinds.VOID: (False, 1, 0, 0),
    pixel_kinds.CROWD: (True, 1, 0, 0),
    pixel_kinds.STUFF: (False, 1, 1, 0),
    pixel_kinds.STUFF_INSTANCE: (False, 1, 1, 0),
    pixel_kinds.SMALL_STUFF_INSTANCE: (False, 2.5, 1, 0),
    pixel_kinds.SMALL_THING: (False, 2.5, 1, 1),
    pixel_kinds.THING: (False, 1, 1, 1),
}
_NAMES = ("is_crowd", "semantic_weight", "center_weight", "offset_weight")


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("dtype", [tf.uint8, tf.int32])
def test_each_kind_has_its_weights(mode, dtype):
    compute = pixel_kinds.compute_weights
    if mode != "eager":
        compute = tf.function(compute, jit_compile=mode == "xla")
    weights = compute(tf.constant(list(_WEIGHTS), dtype), tf.constant(2.5))
    for index, name in enumerate(_NAMES):
        expected = [values[index] for values in _WEIGHTS.values()]
        np.testing.assert_array_equal(weights[name], expected, err_msg=name)
        assert weights[name].dtype == (
            tf.bool if name == "is_crowd" else tf.float32
        )


def test_each_image_has_its_own_weight_of_small_instances():
    kinds = tf.fill([2, 3, 4], tf.constant(pixel_kinds.SMALL_THING, tf.uint8))
    weight = tf.constant([2.0, 5.0])[:, None, None]
    found = pixel_kinds.compute_weights(kinds, weight)["semantic_weight"]
    np.testing.assert_array_equal(found[0], np.full([3, 4], 2.0))
    np.testing.assert_array_equal(found[1], np.full([3, 4], 5.0))


@pytest.mark.parametrize("category", [0, 1, 255, pixel_kinds.MAX_CLASS])
def test_class_and_kind_come_back(category):
    kinds = tf.constant(list(_WEIGHTS))
    codes = pixel_kinds.encode(tf.fill(kinds.shape, category), kinds)
    assert tf.reduce_min(codes) >= 0
    assert tf.reduce_max(codes) <= label_runs.MAX_CODE
    classes, found = pixel_kinds.decode(codes)
    np.testing.assert_array_equal(classes, np.full(len(_WEIGHTS), category))
    np.testing.assert_array_equal(found, kinds)
