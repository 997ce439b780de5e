# SPDX-License-Identifier: Apache-2.0
"""Systems without instances: each class that occurs is a segment."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.postprocess import semantic_only

SIZE = (37, 61)


def _make_logits(batch=1):
    rng = np.random.default_rng(7)
    return rng.normal(0, 3, (batch, 10, 16, 6)).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 2])
def test_classes_are_segments(batch, class_rules, read_table):
    process = tf.function(
        functools.partial(
            semantic_only.postprocess,
            canvas_size=SIZE,
            class_rules=class_rules,
        ),
        jit_compile=True,
        autograph=False,
    )
    prediction = process(
        tf.constant(_make_logits(batch)),
        valid_size=tf.constant([[37, 50]] * batch),
    )
    assert prediction.panoptic is None
    assert "panoptic" not in prediction.as_dict()
    for index in range(batch):
        semantic = prediction.semantic[index].numpy()
        assert np.all(semantic[:, 50:] == 255)
        ids, areas = np.unique(semantic[:, :50], return_counts=True)
        assert read_table(prediction, index) == {
            c * 1000: (c, a) for c, a in zip(ids, areas, strict=True)
        }


def test_probabilities_give_the_classes_of_their_maxima(class_rules):
    scores = tf.nn.softmax(_make_logits())
    prediction = semantic_only.postprocess(
        scores,
        canvas_size=(10, 16),
        class_rules=class_rules,
        are_probabilities=True,
    )
    np.testing.assert_array_equal(
        prediction.semantic, np.argmax(scores, axis=-1)
    )


def test_numpy_arrays_give_the_same_as_tensors(class_rules):
    process = functools.partial(
        semantic_only.postprocess, canvas_size=SIZE, class_rules=class_rules
    )
    logits = _make_logits()
    expected = process(tf.constant(logits), valid_size=tf.constant([[30, 50]]))
    actual = process(logits.astype(np.float64), valid_size=np.array([[30, 50]]))
    for name, value in expected.as_dict().items():
        np.testing.assert_array_equal(actual.as_dict()[name], value)


def test_heads_for_other_classes_are_refused(class_rules):
    with pytest.raises(errors.ConfigError, match="5 channels"):
        semantic_only.postprocess(
            _make_logits()[..., 1:], canvas_size=SIZE, class_rules=class_rules
        )
