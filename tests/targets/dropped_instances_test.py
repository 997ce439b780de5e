# SPDX-License-Identifier: Apache-2.0
"""The notice about images with too many instances."""

import tensorflow as tf
from absl import logging

from deeplab2_like.targets import dropped_instances


def test_the_notice_is_given_once(monkeypatch):
    said = []
    monkeypatch.setattr(
        logging, "warning", lambda text, *values: said.append(text % values)
    )
    notice = dropped_instances.DroppedInstancesNotice(10)
    data = tf.data.Dataset.from_tensor_slices([0, 0, 3, 0, 5])
    data = data.map(notice.watch, num_parallel_calls=2)
    assert list(data.as_numpy_iterator()) == [0, 0, 3, 0, 5]
    assert len(said) == 1
    assert "has 13 instances" in said[0] or "has 15 instances" in said[0]
    assert "max_instances" in said[0]


def test_nothing_is_said_when_all_instances_fit():
    notice = dropped_instances.DroppedInstancesNotice(10)
    assert notice.watch(tf.constant(0)) == 0
    assert not notice.was_given
