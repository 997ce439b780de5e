# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model.outputs import offset_scale, resize_outputs


def _outputs(height=3, width=5):
    ys, xs = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    # every pixel points to the center (1, 2)
    offsets = np.stack([1 - ys, 2 - xs], axis=-1)[None].astype(np.float32)
    rng = np.random.default_rng(0)
    return {
        "semantic_logits": tf.constant(
            rng.normal(size=(1, height, width, 4)).astype(np.float32)
        ),
        "center_heatmap": tf.constant(
            rng.normal(size=(1, height, width, 1)).astype(np.float32)
        ),
        "offset_map": tf.constant(offsets),
    }


@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("in_graph", [False, True])
def test_resized_offsets_point_to_the_resized_center(as_tensor, in_graph):
    size = (17, 21)
    function = tf.function(resize_outputs) if in_graph else resize_outputs
    outputs = function(_outputs(), tf.constant(size) if as_tensor else size)
    center = (1 * 16 / 2, 2 * 20 / 4)
    ys, xs = np.meshgrid(np.arange(17), np.arange(21), indexing="ij")
    expected = np.stack([center[0] - ys, center[1] - xs], axis=-1)
    np.testing.assert_allclose(outputs["offset_map"][0], expected, atol=1e-5)
    assert outputs["semantic_logits"].shape == (1, 17, 21, 4)
    assert outputs["center_heatmap"].shape == (1, 17, 21)


def test_absent_outputs_stay_absent():
    logits = _outputs()["semantic_logits"]
    outputs = resize_outputs({"semantic_logits": logits}, (9, 9))
    assert list(outputs) == ["semantic_logits"]


def test_the_same_size_changes_no_value():
    before = _outputs()
    after = resize_outputs(before, (3, 5))
    np.testing.assert_array_equal(after["offset_map"], before["offset_map"])


def test_a_side_of_one_pixel_does_not_stretch():
    np.testing.assert_allclose(offset_scale((1, 3), (9, 9)), [1.0, 4.0])
