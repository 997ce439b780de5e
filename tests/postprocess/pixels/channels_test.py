# SPDX-License-Identifier: Apache-2.0
"""Channels of semantic heads and their classes."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.postprocess.pixels import channels


@pytest.mark.parametrize("classes", [(1, 0, 2, 3, 5), (0, 1, 2), (7,)])
def test_channels_are_named(classes):
    channel = np.random.default_rng(0).integers(0, len(classes), (4, 5))
    named = channels.name_channels(tf.constant(channel, tf.int32), classes)
    np.testing.assert_array_equal(named, np.array(classes)[channel])


def test_each_class_has_a_channel_unless_said_otherwise(class_rules):
    found = channels.find_channel_classes(np.zeros((1, 2, 2, 6)), class_rules)
    assert found == (0, 1, 2, 3, 4, 5)


def test_things_may_share_a_channel(class_rules):
    classes = (4, 0, 1, 2)
    found = channels.find_class_channels(classes, class_rules)
    assert found.tolist() == [1, 2, 3, 0, 0, 0]
    assert channels.list_stuff_channels(classes, class_rules) == [1, 2, 3]
