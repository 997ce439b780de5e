# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model.heads.dense_head import Head
from deeplab2_like.testing import harness


@pytest.mark.parametrize(
    "conv_type", ["depthwise_separable_conv", "standard_conv"]
)
def test_the_head_passes_the_harness(conv_type, tmp_path):
    harness.check_layer(
        lambda: Head(3, 5, conv_type=conv_type, name="head"), tmp_path
    )


def test_numbers_are_float32_in_low_precision():
    head = Head(2, 5, dtype="mixed_bfloat16", name="offset_head")
    outputs = head(np.ones((1, 4, 4, 3), np.float32))
    assert outputs.dtype == tf.float32
    assert head.conv.compute_dtype == "bfloat16"


def test_the_last_layer_starts_small():
    head = Head(64, 256, name="head")
    head.build((None, None, None, 4))
    kernel = head.last_layer.kernel.numpy()
    assert np.abs(kernel).max() <= 0.02
    assert kernel.std() == pytest.approx(0.0088, rel=0.05)
    np.testing.assert_array_equal(head.last_layer.bias, np.zeros(64))
